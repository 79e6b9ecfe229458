package peers;

import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.UUID;
import org.openehealth.ipf.commons.ihe.xds.core.metadata.AssigningAuthority;
import org.openehealth.ipf.commons.ihe.xds.core.metadata.Association;
import org.openehealth.ipf.commons.ihe.xds.core.metadata.AssociationLabel;
import org.openehealth.ipf.commons.ihe.xds.core.metadata.AssociationType;
import org.openehealth.ipf.commons.ihe.xds.core.metadata.Author;
import org.openehealth.ipf.commons.ihe.xds.core.metadata.CXiAssigningAuthority;
import org.openehealth.ipf.commons.ihe.xds.core.metadata.Code;
import org.openehealth.ipf.commons.ihe.xds.core.metadata.DocumentEntry;
import org.openehealth.ipf.commons.ihe.xds.core.metadata.Folder;
import org.openehealth.ipf.commons.ihe.xds.core.metadata.Identifiable;
import org.openehealth.ipf.commons.ihe.xds.core.metadata.LocalizedString;
import org.openehealth.ipf.commons.ihe.xds.core.metadata.Organization;
import org.openehealth.ipf.commons.ihe.xds.core.metadata.PatientInfo;
import org.openehealth.ipf.commons.ihe.xds.core.metadata.Person;
import org.openehealth.ipf.commons.ihe.xds.core.metadata.Recipient;
import org.openehealth.ipf.commons.ihe.xds.core.metadata.ReferenceId;
import org.openehealth.ipf.commons.ihe.xds.core.metadata.SubmissionSet;
import org.openehealth.ipf.commons.ihe.xds.core.metadata.Telecom;
import org.openehealth.ipf.commons.ihe.xds.core.metadata.XpnName;

/** One good thing of each kind, with umlauts, quotes and brackets wherever text may stand. */
final class Samples {
    static final Code CLASS = code("class", "1.2.3.4.1");
    static final Code TYPE = code("type", "1.2.3.4.2");
    static final Code FORMAT = code("format", "1.2.3.4.3");
    static final Code FACILITY = code("facility", "1.2.3.4.4");
    static final Code PRACTICE = code("practice", "1.2.3.4.5");
    static final Code NORMAL = code("N", "1.2.3.4.6");
    static final Code EVENT = code("CT", "1.2.3.4.7");
    static final Code CONTENT = code("content", "1.2.3.4.8");
    static final Code FOLDER = code("folder", "1.2.3.4.9");
    static final String SOURCE_ID = "1.2.3.77";

    private static long serial = System.currentTimeMillis();

    private Samples() {}

    static String uniqueId() {
        return "1.2.826.0.1.3680043.10.999." + serial++;
    }

    static String uuid() {
        return "urn:uuid:" + UUID.randomUUID();
    }

    static Code code(String value, String scheme) {
        return new Code(value, text("name of " + value), scheme);
    }

    static LocalizedString text(String value) {
        return new LocalizedString(value, "en-US", "UTF-8");
    }

    static byte[] bytes(String value) {
        return value.getBytes(StandardCharsets.UTF_8);
    }

    static String sha1(byte[] content) {
        try {
            return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-1").digest(content));
        } catch (NoSuchAlgorithmException impossible) {
            throw new IllegalStateException(impossible);
        }
    }

    /** Each entry of a patient has this id of the order it belongs to. */
    static ReferenceId accession(String patient) {
        CXiAssigningAuthority authority = new CXiAssigningAuthority(null, "1.1.2.3", "ISO");
        return new ReferenceId("order-" + patient, authority, ReferenceId.ID_TYPE_CODE_ACCESSION);
    }

    static DocumentEntry entry(Identifiable patient) {
        DocumentEntry entry = new DocumentEntry();
        entry.setEntryUuid(uuid());
        entry.setUniqueId(uniqueId());
        entry.setPatientId(patient);
        entry.setSourcePatientId(new Identifiable("local", new AssigningAuthority("1.2.3.11")));
        entry.setSourcePatientInfo(patientInfo());
        entry.getAuthors().add(author());
        entry.setClassCode(CLASS);
        entry.setTypeCode(TYPE);
        entry.setFormatCode(FORMAT);
        entry.setHealthcareFacilityTypeCode(FACILITY);
        entry.setPracticeSettingCode(PRACTICE);
        entry.getConfidentialityCodes().add(NORMAL);
        entry.getEventCodeList().add(EVENT);
        entry.setCreationTime("20260102030405");
        entry.setServiceStartTime("20260101");
        entry.setServiceStopTime("2026010112");
        entry.setLanguageCode("de-CH");
        entry.setMimeType("text/plain");
        entry.setTitle(new LocalizedString("Röntgen: Thorax & Abdomen <\"ü\">", "de-CH", "UTF-8"));
        entry.setComments(text("it's a comment"));
        XpnName head = new XpnName();
        head.setFamilyName("Nightingale");
        entry.setLegalAuthenticator(new Person(new Identifiable("d1", new AssigningAuthority("1.2.3.12")), head));
        entry.getReferenceIdList().add(accession(patient.getId()));
        return entry;
    }

    /** An entry that says of a document what a repository would have found. */
    static DocumentEntry registered(Identifiable patient, String repository, byte[] content) {
        DocumentEntry entry = entry(patient);
        entry.setRepositoryUniqueId(repository);
        entry.setHash(sha1(content));
        entry.setSize((long) content.length);
        return entry;
    }

    static SubmissionSet set(Identifiable patient) {
        SubmissionSet set = new SubmissionSet();
        set.setEntryUuid(uuid());
        set.setUniqueId(uniqueId());
        set.setSourceId(SOURCE_ID);
        set.setPatientId(patient);
        set.getAuthors().add(author());
        set.setContentTypeCode(CONTENT);
        set.setSubmissionTime("20260102030405");
        set.setTitle(text("a submission"));
        Recipient recipient = new Recipient();
        recipient.setOrganization(new Organization("South Clinic", null, null));
        set.getIntendedRecipients().add(recipient);
        return set;
    }

    static Folder folder(Identifiable patient) {
        Folder folder = new Folder();
        folder.setEntryUuid(uuid());
        folder.setUniqueId(uniqueId());
        folder.setPatientId(patient);
        folder.getCodeList().add(FOLDER);
        folder.setTitle(text("a folder"));
        return folder;
    }

    static Association association(AssociationType type, String source, String target) {
        return new Association(type, uuid(), source, target);
    }

    static Association member(String source, String target) {
        return association(AssociationType.HAS_MEMBER, source, target);
    }

    /** The membership of an entry in its set. */
    static Association original(SubmissionSet set, DocumentEntry entry) {
        Association member = member(set.getEntryUuid(), entry.getEntryUuid());
        member.setLabel(AssociationLabel.ORIGINAL);
        return member;
    }

    private static PatientInfo patientInfo() {
        PatientInfo info = new PatientInfo();
        info.getNames().add(new XpnName("Müller", "Anna", null, null, null, null));
        info.setDateOfBirth("19560527");
        info.setGender("F");
        return info;
    }

    private static Author author() {
        XpnName name = new XpnName();
        name.setFamilyName("O'Hara");
        name.setGivenName("Zoë");
        Author author = new Author();
        author.setAuthorPerson(new Person(new Identifiable("d77", new AssigningAuthority("1.2.3.9")), name));
        author.getAuthorInstitution().add(new Organization("North Hospital", "1.2.3.4.5.6.7", null));
        author.getAuthorRole().add(new Identifiable("attending"));
        author.getAuthorSpecialty().add(new Identifiable("radiology", new AssigningAuthority("1.2.3.3")));
        author.getAuthorTelecom().add(new Telecom("zoe@north.example"));
        return author;
    }
}
