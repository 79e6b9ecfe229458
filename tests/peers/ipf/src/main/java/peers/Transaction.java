package peers;

import static org.openehealth.ipf.platform.camel.ihe.xds.XdsCamelValidators.*;

import org.apache.camel.Processor;

/** Of each transaction: IPF's component, the path of the actor that answers, and IPF's validators. */
enum Transaction {
    ITI_18("xds-iti18", "/registry", iti18RequestValidator(), iti18ResponseValidator()),
    ITI_41("xds-iti41", "/repository", iti41RequestValidator(), iti41ResponseValidator()),
    ITI_42("xds-iti42", "/registry", iti42RequestValidator(), iti42ResponseValidator()),
    ITI_43("xds-iti43", "/repository", iti43RequestValidator(), iti43ResponseValidator()),
    ITI_51("xds-iti51", "/registry", iti51RequestValidator(), iti51ResponseValidator()),
    ITI_57("xds-iti57", "/registry", iti57RequestValidator(), iti57ResponseValidator()),
    ITI_61("xds-iti61", "/registry", iti61RequestValidator(), iti61ResponseValidator()),
    ITI_62("rmd-iti62", "/registry", iti62RequestValidator(), iti62ResponseValidator()),
    ITI_86("rmd-iti86", "/repository", iti86RequestValidator(), iti86ResponseValidator()),
    ITI_92("rmu-iti92", "/registry", iti92RequestValidator(), iti92ResponseValidator()),
    RAD_69("xdsi-rad69", "/imaging-source", rad69RequestValidator(), rad69ResponseValidator());

    final String component;
    final String path;
    final Processor request;
    final Processor response;

    Transaction(String component, String path, Processor request, Processor response) {
        this.component = component;
        this.path = path;
        this.request = request;
        this.response = response;
    }

    @Override
    public String toString() {
        return name().replace('_', '-');
    }
}
