package peers;

import org.openehealth.ipf.platform.camel.ihe.mllp.PixPdqCamelValidators;

/** ITI-8 Patient Identity Feed: patients become known, are revised and merged. */
final class Feeding {
    // IPF's profile of A40 does not know the group into which its own parser puts MRG: that request is not held.
    private static final String GROUPED = "\rMRG|";

    private final Peer peer;

    Feeding(Peer peer) {
        this.peer = peer;
    }

    void run() {
        acknowledged("AA", "ITI-8 A01 admits the first patient", message("A01", "ADT_A01", cx(Journey.ANNA), ""));
        acknowledged("AA", "ITI-8 A04 registers the second", message("A04", "ADT_A01", cx(Journey.BERT), ""));
        acknowledged("AA", "ITI-8 A05 pre-admits a third", message("A05", "ADT_A01", cx("third"), ""));
        acknowledged("AA", "ITI-8 A08 revises the first", message("A08", "ADT_A01", cx(Journey.ANNA), ""));
        String merged = "MRG|" + cx("third") + "\r";
        acknowledged("AA", "ITI-8 A40 merges the third into the second", message("A40", "ADT_A39", cx(Journey.BERT), merged));
        String foreign = "x^^^&9.9.9&ISO";
        acknowledged("AE", "ITI-8 A01 of a foreign assigning authority is refused", message("A01", "ADT_A01", foreign, ""));
        acknowledged("AE", "ITI-8 A01 without a patient id is refused", message("A01", "ADT_A01", "", ""));
    }

    private void acknowledged(String code, String name, String message) {
        Steps.passes(name, () -> {
            String answer = peer.feed(message);
            if (code.equals("AA") && !message.contains(GROUPED)) {
                peer.validate(PixPdqCamelValidators.iti8RequestValidator(), message);
            }
            peer.validate(PixPdqCamelValidators.iti8ResponseValidator(), answer);
            if (!answer.contains("\rMSA|" + code + "|")) {
                throw new IllegalStateException("expected " + code + ": " + answer);
            }
            return answer;
        });
    }

    private String cx(String id) {
        return id + "^^^&" + peer.site.authority() + "&ISO";
    }

    private static String message(String event, String structure, String patient, String merged) {
        return "MSH|^~\\&|IPF|NORTH|XDS|REGISTRY|20260102030405+0000||ADT^" + event + "^" + structure + "|"
                + System.nanoTime() + "|P|2.3.1||||||UNICODE UTF-8\r"
                + "EVN|" + event + "|20260102030405\r"
                + "PID|||" + patient + "||Müller^Anna^^^^^L||19560527|F|||Main Street 1^^Town^^1234\r"
                + (merged.isEmpty() ? "PV1||O\r" : merged);
    }
}
