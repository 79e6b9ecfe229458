package peers;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.UUID;
import org.apache.camel.Exchange;
import org.apache.camel.Processor;
import org.apache.camel.ProducerTemplate;
import org.apache.camel.impl.DefaultCamelContext;
import org.apache.camel.support.DefaultExchange;
import org.openehealth.ipf.platform.camel.ihe.hl7v3.PixPdqV3CamelValidators;

/** ITI-44 Patient Identity Feed HL7 V3 by IPF: ADDRESS/PATH?OPTIONS, then CODE=FILE of each message and how it is acknowledged. */
public final class FeedV3 {
    private FeedV3() {}

    public static void main(String[] arguments) throws Exception {
        DefaultCamelContext camel = new DefaultCamelContext();
        camel.setLoadTypeConverters(true);
        camel.start();
        ProducerTemplate template = camel.createProducerTemplate();
        for (int at = 1; at < arguments.length; at++) {
            String[] expected = arguments[at].split("=", 2);
            Path file = Path.of(expected[1]);
            String name = "ITI-44 " + file.getFileName() + " is acknowledged by " + expected[0] + ", validly by IPF's schematron";
            try {
                String message = Files.readString(file).replace("MESSAGE", UUID.randomUUID().toString());
                Exchange done = template.send("xds-iti44://" + arguments[0] + "&audit=false", exchange(camel, message));
                if (done.getException() != null) {
                    throw done.getException();
                }
                String answer = done.getMessage().getBody(String.class);
                validate(camel, PixPdqV3CamelValidators.iti44ResponseValidator(), answer);
                boolean right = answer.contains("<typeCode code=\"" + expected[0] + "\"");
                System.out.println(right ? "ok " + name : "FAILED " + name + ": " + oneLine(answer));
            } catch (Exception problem) {
                System.out.println("FAILED " + name + ": " + oneLine(problem.toString()));
            }
        }
        System.out.println("end");
        System.exit(0); // Camel's and CXF's threads may linger
    }

    private static void validate(DefaultCamelContext camel, Processor validator, String message) throws Exception {
        validator.process(exchange(camel, message));
    }

    private static Exchange exchange(DefaultCamelContext camel, String body) {
        Exchange exchange = new DefaultExchange(camel);
        exchange.getIn().setBody(body);
        return exchange;
    }

    private static String oneLine(String text) {
        return text.replaceAll("\\s+", " ");
    }
}
