package peers;

import static org.openehealth.ipf.commons.ihe.xds.core.responses.ErrorCode.*;
import static peers.Transaction.*;

import java.util.Random;
import org.openehealth.ipf.commons.ihe.xds.core.metadata.Association;
import org.openehealth.ipf.commons.ihe.xds.core.metadata.AssociationType;
import org.openehealth.ipf.commons.ihe.xds.core.metadata.DocumentEntry;
import org.openehealth.ipf.commons.ihe.xds.core.metadata.DocumentEntryType;
import org.openehealth.ipf.commons.ihe.xds.core.metadata.Folder;
import org.openehealth.ipf.commons.ihe.xds.core.metadata.Identifiable;
import org.openehealth.ipf.commons.ihe.xds.core.metadata.SubmissionSet;
import org.openehealth.ipf.commons.ihe.xds.core.responses.Response;

/** ITI-41 as a Document Source, ITI-42 as a Document Repository, ITI-61 as an On-Demand Document Source. */
final class Publishing {
    static final byte[] SMALL = Samples.bytes("Befund äöü €\n");
    static final byte[] LARGE = new byte[3_000_000];

    static {
        new Random(7).nextBytes(LARGE);
    }

    // What the steps after this one ask for.
    final Identifiable anna;
    final Identifiable bert;
    final DocumentEntry first;
    final DocumentEntry second;
    final Folder folder;
    final SubmissionSet firstSet;
    final DocumentEntry symbolic;
    final DocumentEntry replacement;
    final DocumentEntry registered;
    final SubmissionSet registeredSet;
    final DocumentEntry onDemand;

    private final Peer peer;

    Publishing(Peer peer) {
        this.peer = peer;
        anna = peer.patient(Journey.ANNA);
        bert = peer.patient(Journey.BERT);
        first = Samples.entry(anna);
        second = Samples.entry(anna);
        second.setMimeType("application/octet-stream");
        second.setHash(Samples.sha1(LARGE));
        second.setSize((long) LARGE.length);
        folder = Samples.folder(anna);
        firstSet = Samples.set(anna);
        symbolic = Samples.entry(anna);
        symbolic.setEntryUuid("document01");
        replacement = Samples.entry(anna);
        registered = Samples.registered(anna, peer.site.repository(), SMALL);
        registeredSet = Samples.set(anna);
        onDemand = Samples.entry(anna);
        onDemand.setType(DocumentEntryType.ON_DEMAND);
        onDemand.setRepositoryUniqueId(peer.site.repository());
        onDemand.setCreationTime((String) null);
        onDemand.setLegalAuthenticator(null);
    }

    void run() {
        documents();
        relations();
        refused();
        registered();
    }

    private void documents() {
        Association filed = Samples.member(folder.getEntryUuid(), first.getEntryUuid());
        Submission whole = new Submission(firstSet).with(first, SMALL).with(second, LARGE).with(folder).with(filed)
                .with(Samples.member(firstSet.getEntryUuid(), filed.getEntryUuid()));
        Steps.succeeds("ITI-41 two documents by MTOM, one of them of 3 MB, and a folder", () -> provide(whole));
        SubmissionSet named = Samples.set(anna);
        named.setEntryUuid("set01");
        Submission bySymbols = new Submission(named).with(symbolic, SMALL);
        Steps.succeeds("ITI-41 with symbolic ids", () -> provide(bySymbols));
        Submission empty = Submission.of(anna).with(Samples.entry(anna), new byte[0]);
        Steps.succeeds("ITI-41 an empty document", () -> provide(empty));
        Steps.refused("ITI-41 the same submission again is refused", () -> provide(whole),
                REGISTRY_METADATA_ERROR, DUPLICATE_UNIQUE_ID_IN_REGISTRY);
    }

    private void relations() {
        Submission replaced = Submission.of(anna).with(replacement, Samples.bytes("second edition"))
                .with(relation(AssociationType.REPLACE, replacement, first));
        Steps.succeeds("ITI-41 replaces the first document", () -> provide(replaced));
        for (AssociationType type : new AssociationType[] {
                AssociationType.APPEND, AssociationType.TRANSFORM, AssociationType.SIGNS}) {
            DocumentEntry entry = Samples.entry(anna);
            Submission related = Submission.of(anna).with(entry, Samples.bytes("it is " + type))
                    .with(relation(type, entry, replacement));
            Steps.succeeds("ITI-41 relates to the replacement by " + type, () -> provide(related));
        }
    }

    private void refused() {
        Identifiable unknown = peer.patient("nobody");
        Submission nobodys = Submission.of(unknown).with(Samples.entry(unknown), SMALL);
        Steps.refused("ITI-41 of an unknown patient is refused", () -> provide(nobodys), UNKNOWN_PATIENT_ID);
        DocumentEntry otherHash = Samples.entry(anna);
        otherHash.setHash("0123456789012345678901234567890123456789");
        Steps.refused("ITI-41 with another document's hash is refused",
                () -> provide(Submission.of(anna).with(otherHash, SMALL)), REPOSITORY_METADATA_ERROR);
        DocumentEntry otherSize = Samples.entry(anna);
        otherSize.setSize(5L);
        Steps.refused("ITI-41 with another document's size is refused",
                () -> provide(Submission.of(anna).with(otherSize, SMALL)), REPOSITORY_METADATA_ERROR);
        DocumentEntry late = Samples.entry(anna);
        Submission again = Submission.of(anna).with(late, SMALL).with(relation(AssociationType.REPLACE, late, first));
        Steps.refused("ITI-41 that replaces what is deprecated is refused",
                () -> provide(again), REGISTRY_DEPRECATED_DOCUMENT_ERROR);
        DocumentEntry berts = Samples.entry(bert);
        Steps.refused("ITI-41 of an entry of another patient is refused",
                () -> spoilt(ITI_41, Submission.of(anna).with(berts, SMALL).provided()), PATIENT_ID_DOES_NOT_MATCH);
    }

    private void registered() {
        Submission own = new Submission(registeredSet).with(registered);
        Steps.succeeds("ITI-42 registers an entry", () -> register(ITI_42, own));
        Submission berts = Submission.of(bert).with(Samples.registered(bert, peer.site.repository(), SMALL));
        Steps.succeeds("ITI-42 registers an entry of the second patient", () -> register(ITI_42, berts));
        DocumentEntry bare = Samples.entry(anna);
        bare.setRepositoryUniqueId(peer.site.repository());
        Submission without = Submission.of(anna).with(bare);
        Steps.refused("ITI-42 without hash and size is refused (IPF's validator would not send it)",
                () -> spoilt(ITI_42, without.registered()), REGISTRY_METADATA_ERROR);
        Submission made = Submission.of(anna).with(onDemand);
        Steps.succeeds("ITI-61 registers an On-Demand entry", () -> register(ITI_61, made));
    }

    private Association relation(AssociationType type, DocumentEntry entry, DocumentEntry other) {
        Association relation = Samples.association(type, entry.getEntryUuid(), other.getEntryUuid());
        if (type == AssociationType.TRANSFORM) {
            relation.setDocCode(Samples.code("to text", "1.2.3.4.10"));
        }
        return relation;
    }

    private Response provide(Submission submission) throws Exception {
        return peer.ask(ITI_41, submission.provided(), Response.class);
    }

    private Response register(Transaction transaction, Submission submission) throws Exception {
        return peer.ask(transaction, submission.registered(), Response.class);
    }

    private Response spoilt(Transaction transaction, Object request) throws Exception {
        return peer.askSpoilt(transaction, request, Response.class);
    }
}
