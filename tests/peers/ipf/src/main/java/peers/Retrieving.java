package peers;

import static org.openehealth.ipf.commons.ihe.xds.core.responses.ErrorCode.*;
import static peers.Transaction.*;

import java.io.InputStream;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.openehealth.ipf.commons.ihe.xds.core.requests.DocumentReference;
import org.openehealth.ipf.commons.ihe.xds.core.requests.RetrieveDocumentSet;
import org.openehealth.ipf.commons.ihe.xds.core.requests.RetrieveImagingDocumentSet;
import org.openehealth.ipf.commons.ihe.xds.core.requests.RetrieveSeries;
import org.openehealth.ipf.commons.ihe.xds.core.requests.RetrieveStudy;
import org.openehealth.ipf.commons.ihe.xds.core.responses.RetrievedDocument;
import org.openehealth.ipf.commons.ihe.xds.core.responses.RetrievedDocumentSet;
import org.openehealth.ipf.commons.ihe.xds.core.responses.Status;

/** ITI-43 as a Document Consumer, RAD-69 as an Imaging Document Consumer. */
final class Retrieving {
    private static final String EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1";
    private static final String NONE = "1.2.3.4.5";

    private final Peer peer;
    private final Publishing published;

    Retrieving(Peer peer, Publishing published) {
        this.peer = peer;
        this.published = published;
    }

    void documents() {
        DocumentReference first = reference(published.first.getUniqueId());
        DocumentReference second = reference(published.second.getUniqueId());
        RetrievedDocumentSet both = Steps.succeeds("ITI-43 two documents", () -> retrieve(first, second));
        if (both != null) {
            Map<String, byte[]> contents = contents(both);
            same("ITI-43 bytes of the first are those that were sent", contents, first, Publishing.SMALL);
            same("ITI-43 bytes of the second are those that were sent", contents, second, Publishing.LARGE);
        }
        DocumentReference atHome = new DocumentReference(
                peer.site.repository(), first.getDocumentUniqueId(), peer.site.home());
        Steps.succeeds("ITI-43 with the home community's id", () -> retrieve(atHome));
        Steps.answers("ITI-43 where one of two is unknown is answered in part", Status.PARTIAL_SUCCESS,
                () -> retrieve(first, reference(NONE)), DOCUMENT_UNIQUE_ID_ERROR);
        DocumentReference elsewhere = new DocumentReference("9.9.9", first.getDocumentUniqueId(), null);
        Steps.refused("ITI-43 of another repository is refused", () -> retrieve(elsewhere), UNKNOWN_REPOSITORY_ID);
        Steps.refused("ITI-43 of an On-Demand entry that nobody makes is refused",
                () -> retrieve(reference(published.onDemand.getUniqueId())), DOCUMENT_UNIQUE_ID_ERROR);
    }

    void images() {
        List<RetrieveStudy> all = new ArrayList<>();
        for (String image : peer.site.images().split(" ")) {
            String[] uid = image.split("/");
            all.add(study(uid[0], uid[1], new DocumentReference(peer.site.source(), uid[2], null)));
        }
        Steps.succeeds("RAD-69 retrieves every image, each a DICOM file", () -> retrieve(all), all.size(), Retrieving::dicom);
        RetrieveStudy unknown = study(NONE, NONE, new DocumentReference(peer.site.source(), NONE, null));
        Steps.refused("RAD-69 of an unknown image is refused", () -> retrieve(List.of(unknown)), DOCUMENT_UNIQUE_ID_ERROR);
        List<RetrieveStudy> mixed = new ArrayList<>(all);
        mixed.add(unknown);
        Steps.answers("RAD-69 where one image is unknown is answered in part", Status.PARTIAL_SUCCESS,
                () -> retrieve(mixed), DOCUMENT_UNIQUE_ID_ERROR);
        RetrieveStudy elsewhere = study(NONE, NONE, new DocumentReference("9.9.9", NONE, null));
        Steps.refused("RAD-69 of another source is refused", () -> retrieve(List.of(elsewhere)), UNKNOWN_REPOSITORY_ID);
    }

    /** A document that was removed. */
    void refused(String name, String uniqueId) {
        Steps.refused(name, () -> retrieve(reference(uniqueId)), DOCUMENT_UNIQUE_ID_ERROR);
    }

    private DocumentReference reference(String uniqueId) {
        return new DocumentReference(peer.site.repository(), uniqueId, null);
    }

    private RetrievedDocumentSet retrieve(DocumentReference... documents) throws Exception {
        RetrieveDocumentSet request = new RetrieveDocumentSet();
        request.getDocuments().addAll(List.of(documents));
        return peer.ask(ITI_43, request, RetrievedDocumentSet.class);
    }

    private RetrievedDocumentSet retrieve(List<RetrieveStudy> studies) throws Exception {
        RetrieveImagingDocumentSet request = new RetrieveImagingDocumentSet();
        request.getRetrieveStudies().addAll(studies);
        request.getTransferSyntaxIds().add(EXPLICIT_LITTLE_ENDIAN);
        return peer.ask(RAD_69, request, RetrievedDocumentSet.class);
    }

    private static RetrieveStudy study(String study, String series, DocumentReference image) {
        return new RetrieveStudy(study, List.of(new RetrieveSeries(series, List.of(image))));
    }

    /** By uniqueId; read once, as CXF gives a large attachment but once. */
    private static Map<String, byte[]> contents(RetrievedDocumentSet got) {
        Map<String, byte[]> contents = new LinkedHashMap<>();
        for (RetrievedDocument one : got.getDocuments()) {
            contents.put(one.getRequestData().getDocumentUniqueId(), content(one));
        }
        return contents;
    }

    private static void same(String name, Map<String, byte[]> contents, DocumentReference document, byte[] sent) {
        byte[] back = contents.get(document.getDocumentUniqueId());
        Steps.holds(name, Arrays.equals(sent, back), back == null ? "it did not come" : back.length + " bytes");
    }

    /** How many of them are DICOM files, by the mark behind the preamble. */
    private static int dicom(RetrievedDocumentSet got) {
        byte[] mark = Samples.bytes("DICM");
        return (int) got.getDocuments().stream().map(Retrieving::content)
                .filter(file -> file.length > 132 && Arrays.equals(Arrays.copyOfRange(file, 128, 132), mark)).count();
    }

    private static byte[] content(RetrievedDocument document) {
        try (InputStream data = document.getDataHandler().getInputStream()) {
            return data.readAllBytes();
        } catch (Exception problem) {
            throw new IllegalStateException(problem);
        }
    }
}
