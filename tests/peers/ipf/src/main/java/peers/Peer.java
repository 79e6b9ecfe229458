package peers;

import org.apache.camel.Exchange;
import org.apache.camel.Processor;
import org.apache.camel.ProducerTemplate;
import org.apache.camel.component.hl7.HL7MLLPNettyDecoderFactory;
import org.apache.camel.component.hl7.HL7MLLPNettyEncoderFactory;
import org.apache.camel.impl.DefaultCamelContext;
import org.apache.camel.support.DefaultExchange;
import org.apache.camel.support.jsse.KeyManagersParameters;
import org.apache.camel.support.jsse.KeyStoreParameters;
import org.apache.camel.support.jsse.SSLContextParameters;
import org.apache.camel.support.jsse.TrustManagersParameters;
import org.openehealth.ipf.commons.audit.DefaultAuditContext;
import org.openehealth.ipf.commons.ihe.xds.core.metadata.AssigningAuthority;
import org.openehealth.ipf.commons.ihe.xds.core.metadata.Identifiable;

/** IPF as a client of the site, with its own audit records sent to it. */
final class Peer implements AutoCloseable {
    private static final String AUDIT = "audit=true&auditContext=#auditContext";

    final Site site;
    private final DefaultCamelContext camel = new DefaultCamelContext();

    // One for the whole journey: closing it stops the HTTP client from which attachments are still to be read.
    private final ProducerTemplate template;

    Peer(Site site) {
        this.site = site;
        camel.setLoadTypeConverters(true);
        camel.getRegistry().bind("auditContext", audit(site));
        camel.getRegistry().bind("hl7encoder", new HL7MLLPNettyEncoderFactory());
        camel.getRegistry().bind("hl7decoder", new HL7MLLPNettyDecoderFactory());
        camel.getRegistry().bind("tls", mllpTls());
        camel.start();
        template = camel.createProducerTemplate();
    }

    Identifiable patient(String id) {
        return new Identifiable(id, new AssigningAuthority(site.authority()));
    }

    /** Whether the server knows its peers, and decides what each may. */
    boolean isDecidedAbout() {
        return site.secure();
    }

    /** The answer; request and answer are held by IPF's validators. */
    <T> T ask(Transaction transaction, Object request, Class<T> answer) throws Exception {
        validate(transaction.request, request);
        T got = askUnchecked(transaction, request, answer);
        validate(transaction.response, got);
        return got;
    }

    /** The answer to a request that IPF's validator would not let out; the answer is held by it all the same. */
    <T> T askSpoilt(Transaction transaction, Object request, Class<T> answer) throws Exception {
        T got = askUnchecked(transaction, request, answer);
        validate(transaction.response, got);
        return got;
    }

    private <T> T askUnchecked(Transaction transaction, Object request, Class<T> answer) throws Exception {
        String secure = site.secure() ? "secure=true&" : "";
        return send(transaction.component + "://" + site.address() + transaction.path + "?" + secure + AUDIT, request)
                .getMessage().getBody(answer);
    }

    /** The acknowledgement of an HL7 v2 message. */
    String feed(String message) throws Exception {
        String secure = site.secure() ? "secure=true&sslContextParameters=#tls&" : "";
        return send("xds-iti8://" + site.mllp() + "?" + secure + AUDIT, message).getMessage().getBody(String.class);
    }

    void validate(Processor validator, Object body) throws Exception {
        Exchange exchange = new DefaultExchange(camel);
        exchange.getIn().setBody(body);
        validator.process(exchange);
    }

    private Exchange send(String uri, Object body) throws Exception {
        Exchange exchange = new DefaultExchange(camel);
        exchange.getIn().setBody(body);
        Exchange done = template.send(uri, exchange);
        if (done.getException() != null) {
            throw done.getException();
        }
        return done;
    }

    private static DefaultAuditContext audit(Site site) {
        String[] repository = site.syslog().split(":");
        DefaultAuditContext audit = new DefaultAuditContext();
        audit.setAuditEnabled(true);
        audit.setAuditSourceId("ipf");
        audit.setAuditRepositoryTransport(site.secure() ? "TLS" : "UDP");
        audit.setAuditRepositoryHost(repository[0]);
        audit.setAuditRepositoryPort(Integer.parseInt(repository[1]));
        return audit;
    }

    /** For Camel's MLLP, what javax.net.ssl says for the rest. */
    private static SSLContextParameters mllpTls() {
        KeyManagersParameters key = new KeyManagersParameters();
        key.setKeyStore(store("javax.net.ssl.keyStore"));
        key.setKeyPassword(System.getProperty("javax.net.ssl.keyStorePassword"));
        TrustManagersParameters trusted = new TrustManagersParameters();
        trusted.setKeyStore(store("javax.net.ssl.trustStore"));
        SSLContextParameters tls = new SSLContextParameters();
        tls.setKeyManagers(key);
        tls.setTrustManagers(trusted);
        return tls;
    }

    private static KeyStoreParameters store(String property) {
        KeyStoreParameters store = new KeyStoreParameters();
        store.setResource("file:" + System.getProperty(property));
        store.setPassword(System.getProperty(property + "Password"));
        store.setType(System.getProperty(property + "Type"));
        return store;
    }

    @Override
    public void close() {
        camel.stop();
    }
}
