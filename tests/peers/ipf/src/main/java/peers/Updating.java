package peers;

import static org.openehealth.ipf.commons.ihe.xds.core.responses.ErrorCode.*;
import static peers.Transaction.*;

import java.util.List;
import org.openehealth.ipf.commons.ihe.xds.core.metadata.Association;
import org.openehealth.ipf.commons.ihe.xds.core.metadata.AssociationType;
import org.openehealth.ipf.commons.ihe.xds.core.metadata.AvailabilityStatus;
import org.openehealth.ipf.commons.ihe.xds.core.metadata.DocumentEntry;
import org.openehealth.ipf.commons.ihe.xds.core.metadata.Folder;
import org.openehealth.ipf.commons.ihe.xds.core.metadata.SubmissionSet;
import org.openehealth.ipf.commons.ihe.xds.core.requests.query.GetFoldersQuery;
import org.openehealth.ipf.commons.ihe.xds.core.requests.query.Query;
import org.openehealth.ipf.commons.ihe.xds.core.responses.QueryResponse;
import org.openehealth.ipf.commons.ihe.xds.core.responses.Response;

/** ITI-57 as a Document Administrator, ITI-92 as an Update Initiator. */
final class Updating {
    private static final List<AvailabilityStatus> THERE_AND_BACK =
            List.of(AvailabilityStatus.APPROVED, AvailabilityStatus.DEPRECATED, AvailabilityStatus.APPROVED);

    private final Peer peer;
    private final Publishing published;

    Updating(Peer peer, Publishing published) {
        this.peer = peer;
        this.published = published;
    }

    void run() {
        Steps.passes("ITI-57 and ITI-92: what is updated is found first", () -> {
            entry();
            folder();
            return null;
        });
        status();
    }

    private void entry() throws Exception {
        DocumentEntry entry = newest();
        Submission update = versionOf(entry, "a second title", "1");
        Steps.succeeds("ITI-57 a new version of an entry", () -> ask(ITI_57, update));
        Submission stale = versionOf(entry, "a title too late", "1");
        Steps.refused("ITI-57 of a version that is no longer the newest is refused",
                () -> ask(ITI_57, stale), METADATA_VERSION_ERROR);
        QueryResponse versions = query(Querying.versions(published.second.getEntryUuid()));
        Steps.holds("ITI-18 both versions are found by logicalID", versions.getDocumentEntries().size() == 2,
                versions.getDocumentEntries().size());
        DocumentEntry second = newest();
        Steps.holds("ITI-18 the newest has the new title", "a second title".equals(second.getTitle().getValue())
                && "2".equals(second.getVersion().getVersionName()), second.getVersion());
        restricted(second);
    }

    private void restricted(DocumentEntry entry) {
        Submission update = versionOf(entry, "a third title", "2");
        // IPF's validator, as RMU does, wants to be told whose objects these are.
        entry.setHomeCommunityId(peer.site.home());
        update.set.setHomeCommunityId(peer.site.home());
        Steps.succeeds("ITI-92 a new version of an entry", () -> ask(ITI_92, update));
    }

    private void folder() throws Exception {
        GetFoldersQuery query = new GetFoldersQuery();
        query.setUuids(List.of(published.folder.getEntryUuid()));
        query.setMetadataLevel(2);
        Folder folder = query(query).getFolders().get(0);
        folder.setEntryUuid(Samples.uuid());
        folder.setTitle(Samples.text("a second title"));
        SubmissionSet set = Samples.set(published.anna);
        Association member = Samples.member(set.getEntryUuid(), folder.getEntryUuid());
        member.setPreviousVersion("1");
        Submission update = new Submission(set).with(folder, member);
        Steps.succeeds("ITI-57 a new version of a folder", () -> ask(ITI_57, update));
    }

    private void status() {
        for (int change = 1; change < THERE_AND_BACK.size(); change++) {
            AvailabilityStatus before = THERE_AND_BACK.get(change - 1);
            AvailabilityStatus after = THERE_AND_BACK.get(change);
            SubmissionSet set = Samples.set(published.anna);
            Association update = Samples.association(
                    AssociationType.UPDATE_AVAILABILITY_STATUS, set.getEntryUuid(), published.registered.getEntryUuid());
            update.setOriginalStatus(before);
            update.setNewStatus(after);
            Submission submission = new Submission(set).with(update);
            Steps.succeeds("ITI-57 an entry from " + before + " to " + after, () -> ask(ITI_57, submission));
        }
    }

    /** The entry as a version that follows another; it is given a new entryUUID each time. */
    private Submission versionOf(DocumentEntry entry, String title, String previous) {
        entry.setEntryUuid(Samples.uuid());
        entry.setTitle(Samples.text(title));
        SubmissionSet set = Samples.set(published.anna);
        Association member = Samples.original(set, entry);
        member.setPreviousVersion(previous);
        member.setAssociationPropagation(true);
        return new Submission(set).with(entry, member);
    }

    private DocumentEntry newest() throws Exception {
        return query(Querying.versions(published.second.getEntryUuid())).getDocumentEntries().stream()
                .filter(entry -> entry.getAvailabilityStatus() == AvailabilityStatus.APPROVED).findFirst().orElseThrow();
    }

    private QueryResponse query(Query query) throws Exception {
        return peer.ask(ITI_18, Querying.leafClass(query), QueryResponse.class);
    }

    private Response ask(Transaction transaction, Submission submission) throws Exception {
        return peer.ask(transaction, submission.registered(), Response.class);
    }
}
