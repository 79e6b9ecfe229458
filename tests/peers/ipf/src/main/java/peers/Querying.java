package peers;

import static org.openehealth.ipf.commons.ihe.xds.core.responses.ErrorCode.*;
import static peers.Transaction.*;

import java.util.ArrayList;
import java.util.List;
import org.openehealth.ipf.commons.ihe.xds.core.metadata.AssociationType;
import org.openehealth.ipf.commons.ihe.xds.core.metadata.AvailabilityStatus;
import org.openehealth.ipf.commons.ihe.xds.core.metadata.CXiAssigningAuthority;
import org.openehealth.ipf.commons.ihe.xds.core.metadata.Code;
import org.openehealth.ipf.commons.ihe.xds.core.metadata.DocumentAvailability;
import org.openehealth.ipf.commons.ihe.xds.core.metadata.DocumentEntryType;
import org.openehealth.ipf.commons.ihe.xds.core.metadata.Identifiable;
import org.openehealth.ipf.commons.ihe.xds.core.metadata.ReferenceId;
import org.openehealth.ipf.commons.ihe.xds.core.requests.QueryRegistry;
import org.openehealth.ipf.commons.ihe.xds.core.requests.query.*;
import org.openehealth.ipf.commons.ihe.xds.core.responses.QueryResponse;

/** ITI-18 and ITI-51 as a Document Consumer: every query that IPF has, and what it must find of what was published. */
final class Querying {
    static final List<AvailabilityStatus> APPROVED = List.of(AvailabilityStatus.APPROVED);
    static final List<AvailabilityStatus> EITHER = List.of(AvailabilityStatus.APPROVED, AvailabilityStatus.DEPRECATED);
    private static final List<DocumentEntryType> ANY_TYPE = List.of(DocumentEntryType.STABLE, DocumentEntryType.ON_DEMAND);
    private static final Code ELSE = Samples.code("else", "9.9.9");

    /** How many of each an answer holds. */
    private record Count(int entries, int sets, int folders, int associations, int references) {
        static Count of(QueryResponse answer) {
            return new Count(answer.getDocumentEntries().size(), answer.getSubmissionSets().size(),
                    answer.getFolders().size(), answer.getAssociations().size(), answer.getReferences().size());
        }
    }

    private final Peer peer;
    private final Publishing published;

    Querying(Peer peer, Publishing published) {
        this.peer = peer;
        this.published = published;
    }

    void run() {
        entries();
        setsAndFolders();
        byId();
        contents();
        severalPatients();
    }

    private void entries() {
        FindDocumentsQuery stable = documents(published.anna, APPROVED);
        QueryResponse found = finds("FindDocuments of approved stable entries", stable, new Count(8, 0, 0, 0, 0));
        if (found != null) {
            Comparison.of(published.second, found.getDocumentEntries());
        }
        references("FindDocuments as ObjectRef, with the deprecated", ITI_18, documents(published.anna, EITHER), 9);
        FindDocumentsQuery narrow = narrow();
        finds("FindDocuments by every parameter", narrow, new Count(10, 0, 0, 0, 0));
        narrow.setDocumentAvailability(List.of(DocumentAvailability.ONLINE));
        finds("FindDocuments by documentAvailability, which is Online where it is absent", narrow, new Count(10, 0, 0, 0, 0));
        narrow.setEventCodes(codes(ELSE));
        finds("FindDocuments by another event code finds nothing", narrow, new Count(0, 0, 0, 0, 0));
        FindDocumentsQuery home = documents(published.anna, EITHER);
        home.setHomeCommunityId(peer.site.home());
        finds("FindDocuments with the home community's id", home, new Count(9, 0, 0, 0, 0));
        FindDocumentsQuery nobody = documents(peer.patient("nobody"), EITHER);
        finds("FindDocuments of an unknown patient finds nothing", nobody, new Count(0, 0, 0, 0, 0));
        FindDocumentsByReferenceIdQuery order = new FindDocumentsByReferenceIdQuery();
        order.setPatientId(published.anna);
        order.setStatus(APPROVED);
        order.setTypedReferenceIds(orders());
        finds("FindDocumentsByReferenceId", order, new Count(8, 0, 0, 0, 0));
        FindDocumentsByTitleQuery title = new FindDocumentsByTitleQuery();
        title.setPatientId(published.anna);
        title.setStatus(EITHER);
        title.setTitle(List.of("%Thorax%"));
        Steps.refused("ITI-18 gematik's FindDocumentsByTitle, none of IHE's, is refused (IPF's validator would not send it)",
                () -> peer.askSpoilt(ITI_18, leafClass(title), QueryResponse.class), UNKNOWN_STORED_QUERY);
    }

    private FindDocumentsQuery narrow() {
        FindDocumentsQuery query = documents(published.anna, EITHER);
        query.setClassCodes(List.of(Samples.CLASS, ELSE));
        query.setTypeCodes(List.of(Samples.TYPE));
        query.setPracticeSettingCodes(List.of(Samples.PRACTICE));
        query.setHealthcareFacilityTypeCodes(List.of(Samples.FACILITY));
        query.setFormatCodes(List.of(Samples.FORMAT));
        query.setEventCodes(codes(Samples.EVENT, ELSE));
        query.setConfidentialityCodes(codes(Samples.NORMAL, ELSE));
        query.setAuthorPersons(List.of("%O'Hara%"));
        query.setDocumentEntryTypes(ANY_TYPE);
        query.setMetadataLevel(1);
        for (var range : List.of(query.getCreationTime(), query.getServiceStartTime(), query.getServiceStopTime())) {
            range.setFrom("2025");
            range.setTo("2027");
        }
        return query;
    }

    private void setsAndFolders() {
        FindSubmissionSetsQuery sets = new FindSubmissionSetsQuery();
        sets.setPatientId(published.anna);
        sets.setStatus(APPROVED);
        sets.setAuthorPerson("%O'Hara%");
        sets.setSourceIds(List.of(Samples.SOURCE_ID, "9.9"));
        sets.setContentTypeCodes(List.of(Samples.CONTENT));
        sets.getSubmissionTime().setFrom("2025");
        sets.getSubmissionTime().setTo("2027");
        finds("FindSubmissionSets by every parameter", sets, new Count(0, 9, 0, 0, 0));
        FindFoldersQuery folders = new FindFoldersQuery();
        folders.setPatientId(published.anna);
        folders.setStatus(APPROVED);
        folders.setCodes(codes(Samples.FOLDER, ELSE));
        folders.getLastUpdateTime().setFrom("2020");
        finds("FindFolders", folders, new Count(0, 0, 1, 0, 0));
        GetAllQuery all = new GetAllQuery();
        all.setPatientId(published.anna);
        all.setStatusDocuments(EITHER);
        all.setStatusFolders(EITHER);
        all.setStatusSubmissionSets(EITHER);
        all.setDocumentEntryTypes(ANY_TYPE);
        // Associations: 10 entries and a folder in their sets, 2 entries in the folder and that in their sets, 4 relations.
        finds("GetAll", all, new Count(10, 9, 1, 19, 0));
    }

    private void byId() {
        List<String> uuids = List.of(published.first.getEntryUuid(), published.second.getEntryUuid());
        GetDocumentsQuery documents = new GetDocumentsQuery();
        documents.setUuids(uuids);
        finds("GetDocuments by entryUUID", documents, new Count(2, 0, 0, 0, 0));
        GetDocumentsQuery unique = new GetDocumentsQuery();
        unique.setUniqueIds(List.of(published.first.getUniqueId(), published.replacement.getUniqueId()));
        finds("GetDocuments by uniqueId", unique, new Count(2, 0, 0, 0, 0));
        finds("GetDocuments by logicalID", versions(published.second.getEntryUuid()), new Count(1, 0, 0, 0, 0));
        GetDocumentsQuery unknown = new GetDocumentsQuery();
        unknown.setUuids(List.of(Samples.uuid()));
        finds("GetDocuments of an unknown id finds nothing", unknown, new Count(0, 0, 0, 0, 0));
        GetFoldersQuery folders = new GetFoldersQuery();
        folders.setUuids(List.of(published.folder.getEntryUuid()));
        finds("GetFolders", folders, new Count(0, 0, 1, 0, 0));
        GetAssociationsQuery associations = new GetAssociationsQuery();
        associations.setUuids(List.of(published.first.getEntryUuid()));
        finds("GetAssociations", associations, new Count(0, 0, 0, 3, 0));
        GetDocumentsAndAssociationsQuery both = new GetDocumentsAndAssociationsQuery();
        both.setUuids(List.of(published.first.getEntryUuid()));
        finds("GetDocumentsAndAssociations", both, new Count(1, 0, 0, 3, 0));
        GetSubmissionSetsQuery sets = new GetSubmissionSetsQuery();
        sets.setUuids(List.of(published.first.getEntryUuid(), published.folder.getEntryUuid()));
        finds("GetSubmissionSets", sets, new Count(0, 1, 0, 2, 0));
    }

    private void contents() {
        GetSubmissionSetAndContentsQuery set = new GetSubmissionSetAndContentsQuery();
        set.setUniqueId(published.firstSet.getUniqueId());
        finds("GetSubmissionSetAndContents", set, new Count(2, 1, 1, 5, 0));
        GetFolderAndContentsQuery folder = new GetFolderAndContentsQuery();
        folder.setUuid(published.folder.getEntryUuid());
        folder.setConfidentialityCodes(codes(Samples.NORMAL));
        folder.setFormatCodes(List.of(Samples.FORMAT));
        finds("GetFolderAndContents, the replacement in its place too", folder, new Count(2, 0, 1, 2, 0));
        GetFoldersForDocumentQuery around = new GetFoldersForDocumentQuery();
        around.setUuid(published.replacement.getEntryUuid());
        finds("GetFoldersForDocument of the replacement", around, new Count(0, 0, 1, 0, 0));
        GetRelatedDocumentsQuery related = new GetRelatedDocumentsQuery();
        related.setUuid(published.replacement.getEntryUuid());
        related.setAssociationTypes(List.of(AssociationType.REPLACE, AssociationType.APPEND, AssociationType.TRANSFORM));
        finds("GetRelatedDocuments", related, new Count(4, 0, 0, 3, 0));
    }

    private void severalPatients() {
        FindDocumentsForMultiplePatientsQuery both = new FindDocumentsForMultiplePatientsQuery();
        both.setPatientIds(List.of(published.anna, published.bert));
        both.setStatus(APPROVED);
        both.setFormatCodes(List.of(Samples.FORMAT));
        both.setHealthcareFacilityTypeCodes(List.of(Samples.FACILITY));
        finds("FindDocumentsForMultiplePatients", ITI_51, both, new Count(9, 0, 0, 0, 0));
        FindDocumentsForMultiplePatientsQuery anybody = new FindDocumentsForMultiplePatientsQuery();
        anybody.setStatus(APPROVED);
        anybody.setEventCodes(codes(Samples.EVENT));
        if (peer.isDecidedAbout()) {
            Steps.refused("ITI-51 FindDocumentsForMultiplePatients of anybody is refused: nobody lists all patients",
                    () -> peer.ask(ITI_51, leafClass(anybody), QueryResponse.class), REGISTRY_ERROR);
        } else {
            references("FindDocumentsForMultiplePatients of anybody, as ObjectRef", ITI_51, anybody, 9);
        }
        FindFoldersForMultiplePatientsQuery folders = new FindFoldersForMultiplePatientsQuery();
        folders.setPatientIds(List.of(published.anna, published.bert));
        folders.setStatus(APPROVED);
        folders.setCodes(codes(Samples.FOLDER));
        finds("FindFoldersForMultiplePatients", ITI_51, folders, new Count(0, 0, 1, 0, 0));
        FindDocumentsByReferenceIdForMultiplePatientsQuery order = new FindDocumentsByReferenceIdForMultiplePatientsQuery();
        order.setPatientIds(List.of(published.anna, published.bert));
        order.setStatus(APPROVED);
        order.setClassCodes(List.of(Samples.CLASS));
        order.setTypedReferenceIds(orders());
        finds("FindDocumentsByReferenceIdForMultiplePatients", ITI_51, order, new Count(8, 0, 0, 0, 0));
    }

    private QueryResponse finds(String name, Query query, Count expected) {
        return finds(name, ITI_18, query, expected);
    }

    private QueryResponse finds(String name, Transaction transaction, Query query, Count expected) {
        return found(transaction + " " + name, transaction, leafClass(query), expected);
    }

    private void references(String name, Transaction transaction, Query query, int expected) {
        QueryRegistry request = new QueryRegistry(query);
        request.setReturnType(QueryReturnType.OBJECT_REF);
        found(transaction + " " + name, transaction, request, new Count(0, 0, 0, 0, expected));
    }

    private QueryResponse found(String name, Transaction transaction, QueryRegistry request, Count expected) {
        return Steps.succeeds(name, () -> peer.ask(transaction, request, QueryResponse.class), expected, Count::of);
    }

    // What the steps after this one ask by, too.

    static QueryRegistry leafClass(Query query) {
        QueryRegistry request = new QueryRegistry(query);
        request.setReturnType(QueryReturnType.LEAF_CLASS);
        return request;
    }

    /** Every version of an object, with what only metadata level 2 shows. */
    static GetDocumentsQuery versions(String logicalUuid) {
        GetDocumentsQuery query = new GetDocumentsQuery();
        query.setLogicalUuid(List.of(logicalUuid));
        query.setMetadataLevel(2);
        return query;
    }

    private static FindDocumentsQuery documents(Identifiable patient, List<AvailabilityStatus> status) {
        FindDocumentsQuery query = new FindDocumentsQuery();
        query.setPatientId(patient);
        query.setStatus(status);
        return query;
    }

    private static QueryList<Code> codes(Code... either) {
        QueryList<Code> list = new QueryList<>();
        list.getOuterList().add(List.of(either));
        return list;
    }

    private static QueryList<ReferenceId> orders() {
        CXiAssigningAuthority authority = new CXiAssigningAuthority(null, "1.1.2.4", "ISO");
        ReferenceId none = new ReferenceId("none", authority, ReferenceId.ID_TYPE_CODE_ORDER);
        QueryList<ReferenceId> list = new QueryList<>();
        list.getOuterList().add(new ArrayList<>(List.of(Samples.accession(Journey.ANNA), none)));
        return list;
    }
}
