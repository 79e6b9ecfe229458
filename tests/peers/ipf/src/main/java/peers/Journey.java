package peers;

import java.nio.file.Path;

/** IPF as each of the actors that call an XDS-I.b site: the file that it is given says where that is. */
public final class Journey {
    static final String ANNA = "anna";
    static final String BERT = "bert";

    private Journey() {}

    public static void main(String[] arguments) throws Exception {
        try (Peer peer = new Peer(Site.read(Path.of(arguments[0])))) {
            new Feeding(peer).run();
            Publishing published = new Publishing(peer);
            published.run();
            new Querying(peer, published).run();
            Retrieving retrieving = new Retrieving(peer, published);
            retrieving.documents();
            retrieving.images();
            new Updating(peer, published).run();
            new Removing(peer, published).run();
        }
        System.out.println("end");
        System.exit(0); // Camel's and CXF's threads may linger
    }
}
