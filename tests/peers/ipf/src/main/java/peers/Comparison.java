package peers;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.function.Function;
import org.openehealth.ipf.commons.ihe.xds.core.metadata.DocumentEntry;

/** An entry that came back against the one that was sent, attribute by attribute. */
final class Comparison {
    private static final Map<String, Function<DocumentEntry, Object>> ATTRIBUTES = new LinkedHashMap<>();

    static {
        ATTRIBUTES.put("author", DocumentEntry::getAuthors);
        ATTRIBUTES.put("classCode", DocumentEntry::getClassCode);
        ATTRIBUTES.put("comments", DocumentEntry::getComments);
        ATTRIBUTES.put("confidentialityCode", DocumentEntry::getConfidentialityCodes);
        ATTRIBUTES.put("creationTime", DocumentEntry::getCreationTime);
        ATTRIBUTES.put("entryUUID", DocumentEntry::getEntryUuid);
        ATTRIBUTES.put("eventCodeList", DocumentEntry::getEventCodeList);
        ATTRIBUTES.put("formatCode", DocumentEntry::getFormatCode);
        ATTRIBUTES.put("hash", DocumentEntry::getHash);
        ATTRIBUTES.put("healthcareFacilityTypeCode", DocumentEntry::getHealthcareFacilityTypeCode);
        ATTRIBUTES.put("languageCode", DocumentEntry::getLanguageCode);
        ATTRIBUTES.put("legalAuthenticator", DocumentEntry::getLegalAuthenticator);
        ATTRIBUTES.put("mimeType", DocumentEntry::getMimeType);
        ATTRIBUTES.put("objectType", DocumentEntry::getType);
        ATTRIBUTES.put("patientId", DocumentEntry::getPatientId);
        ATTRIBUTES.put("practiceSettingCode", DocumentEntry::getPracticeSettingCode);
        ATTRIBUTES.put("referenceIdList", DocumentEntry::getReferenceIdList);
        ATTRIBUTES.put("serviceStartTime", DocumentEntry::getServiceStartTime);
        ATTRIBUTES.put("serviceStopTime", DocumentEntry::getServiceStopTime);
        ATTRIBUTES.put("size", DocumentEntry::getSize);
        ATTRIBUTES.put("sourcePatientId", DocumentEntry::getSourcePatientId);
        ATTRIBUTES.put("sourcePatientInfo", entry -> String.valueOf(entry.getSourcePatientInfo()));
        ATTRIBUTES.put("title", DocumentEntry::getTitle);
        ATTRIBUTES.put("typeCode", DocumentEntry::getTypeCode);
        ATTRIBUTES.put("uniqueId", DocumentEntry::getUniqueId);
    }

    private Comparison() {}

    /** A step for each attribute of the entry with the same uniqueId. */
    static void of(DocumentEntry sent, List<DocumentEntry> found) {
        for (DocumentEntry entry : found) {
            if (entry.getUniqueId().equals(sent.getUniqueId())) {
                ATTRIBUTES.forEach((name, value) -> compare(name, value.apply(sent), value.apply(entry)));
                return;
            }
        }
        Steps.holds("ITI-18 the entry is among those that were found", false, sent.getUniqueId());
    }

    private static void compare(String name, Object sent, Object back) {
        Steps.holds("ITI-18 " + name + " comes back as it was sent", Objects.equals(sent, back), back + ", not " + sent);
    }
}
