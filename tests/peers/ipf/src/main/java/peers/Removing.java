package peers;

import static org.openehealth.ipf.commons.ihe.xds.core.responses.ErrorCode.*;
import static peers.Transaction.*;

import java.util.Collection;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import org.openehealth.ipf.commons.ihe.xds.core.metadata.Association;
import org.openehealth.ipf.commons.ihe.xds.core.metadata.ObjectReference;
import org.openehealth.ipf.commons.ihe.xds.core.requests.DocumentReference;
import org.openehealth.ipf.commons.ihe.xds.core.requests.RemoveDocuments;
import org.openehealth.ipf.commons.ihe.xds.core.requests.RemoveMetadata;
import org.openehealth.ipf.commons.ihe.xds.core.requests.query.GetAssociationsQuery;
import org.openehealth.ipf.commons.ihe.xds.core.responses.QueryResponse;
import org.openehealth.ipf.commons.ihe.xds.core.responses.Response;

/** ITI-62 and ITI-86 as a Document Administrator. */
final class Removing {
    private final Peer peer;
    private final Publishing published;

    Removing(Peer peer, Publishing published) {
        this.peer = peer;
        this.published = published;
    }

    void run() {
        Steps.refused("ITI-62 of an entry that others refer to is refused",
                () -> remove(Set.of(published.replacement.getEntryUuid())), REFERENCE_EXISTS_EXCEPTION);
        Steps.refused("ITI-62 of an unknown object is refused",
                () -> remove(Set.of(Samples.uuid())), UNRESOLVED_REFERENCE_EXCEPTION);
        Steps.succeeds("ITI-62 a submission with its entry and its changes of status", () -> remove(submission()));
        DocumentReference document = reference(published.symbolic.getUniqueId());
        Steps.succeeds("ITI-86 a document", () -> remove(document));
        new Retrieving(peer, published).refused("ITI-43 of a removed document is refused", document.getDocumentUniqueId());
        Steps.refused("ITI-86 of an unknown document is refused",
                () -> remove(reference("1.2.3.4.5")), DOCUMENT_UNIQUE_ID_ERROR);
    }

    /** The registered entry, the associations to it, and the sets that these come from. */
    private Set<String> submission() throws Exception {
        Set<String> around = new LinkedHashSet<>(List.of(published.registered.getEntryUuid()));
        for (int round = 0; round < 2; round++) { // from the entry to its sets, and from these to what else is theirs
            for (Association association : associations(List.copyOf(around))) {
                around.add(association.getEntryUuid());
                around.add(association.getSourceUuid());
            }
        }
        return around;
    }

    private List<Association> associations(List<String> ids) throws Exception {
        GetAssociationsQuery query = new GetAssociationsQuery();
        query.setUuids(ids);
        return peer.ask(ITI_18, Querying.leafClass(query), QueryResponse.class).getAssociations();
    }

    private DocumentReference reference(String uniqueId) {
        return new DocumentReference(peer.site.repository(), uniqueId, null);
    }

    private Response remove(Collection<String> ids) throws Exception {
        RemoveMetadata request = new RemoveMetadata();
        ids.forEach(id -> request.getReferences().add(new ObjectReference(id)));
        return peer.ask(ITI_62, request, Response.class);
    }

    private Response remove(DocumentReference document) throws Exception {
        RemoveDocuments request = new RemoveDocuments();
        request.getDocuments().add(document);
        return peer.ask(ITI_86, request, Response.class);
    }
}
