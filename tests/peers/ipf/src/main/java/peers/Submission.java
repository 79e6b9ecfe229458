package peers;

import jakarta.activation.DataHandler;
import jakarta.mail.util.ByteArrayDataSource;
import java.util.ArrayList;
import java.util.List;
import org.openehealth.ipf.commons.ihe.xds.core.metadata.Association;
import org.openehealth.ipf.commons.ihe.xds.core.metadata.Document;
import org.openehealth.ipf.commons.ihe.xds.core.metadata.DocumentEntry;
import org.openehealth.ipf.commons.ihe.xds.core.metadata.Folder;
import org.openehealth.ipf.commons.ihe.xds.core.metadata.Identifiable;
import org.openehealth.ipf.commons.ihe.xds.core.metadata.SubmissionSet;
import org.openehealth.ipf.commons.ihe.xds.core.requests.ProvideAndRegisterDocumentSet;
import org.openehealth.ipf.commons.ihe.xds.core.requests.RegisterDocumentSet;

/** A submission that grows by what is added to it, memberships included. */
final class Submission {
    final SubmissionSet set;
    private final List<Document> documents = new ArrayList<>();
    private final List<DocumentEntry> entries = new ArrayList<>();
    private final List<Folder> folders = new ArrayList<>();
    private final List<Association> associations = new ArrayList<>();

    Submission(SubmissionSet set) {
        this.set = set;
    }

    static Submission of(Identifiable patient) {
        return new Submission(Samples.set(patient));
    }

    /** An entry with its document, for ITI-41. */
    Submission with(DocumentEntry entry, byte[] content) {
        DataHandler data = new DataHandler(new ByteArrayDataSource(content, entry.getMimeType()));
        documents.add(new Document(entry, data));
        associations.add(Samples.original(set, entry));
        return this;
    }

    /** An entry alone, for ITI-42 and its like. */
    Submission with(DocumentEntry entry) {
        return with(entry, Samples.original(set, entry));
    }

    Submission with(DocumentEntry entry, Association member) {
        entries.add(entry);
        associations.add(member);
        return this;
    }

    Submission with(Folder folder, Association member) {
        folders.add(folder);
        associations.add(member);
        return this;
    }

    Submission with(Folder folder) {
        return with(folder, Samples.member(set.getEntryUuid(), folder.getEntryUuid()));
    }

    Submission with(Association association) {
        associations.add(association);
        return this;
    }

    ProvideAndRegisterDocumentSet provided() {
        ProvideAndRegisterDocumentSet request = new ProvideAndRegisterDocumentSet();
        request.setSubmissionSet(set);
        request.getDocuments().addAll(documents);
        request.getFolders().addAll(folders);
        request.getAssociations().addAll(associations);
        return request;
    }

    RegisterDocumentSet registered() {
        RegisterDocumentSet request = new RegisterDocumentSet();
        request.setSubmissionSet(set);
        request.getDocumentEntries().addAll(entries);
        request.getFolders().addAll(folders);
        request.getAssociations().addAll(associations);
        return request;
    }
}
