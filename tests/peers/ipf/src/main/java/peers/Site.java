package peers;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Properties;

/** The server under test, as the driver has set it up. */
record Site(
        String address,  // HOST:PORT of SOAP
        boolean secure,  // all of it over mutual TLS, by the stores of javax.net.ssl
        String mllp,  // HOST:PORT of the Patient Identity Feed
        String syslog,  // HOST:PORT of the Audit Record Repository, by UDP or by TLS
        String authority,  // assigning authority of the domain's patient ids
        String home,  // homeCommunityId, with urn:oid:
        String repository,  // repositoryUniqueId
        String source,  // repositoryUniqueId of the Imaging Document Source
        String images) {  // study/series/instance of each image there, with blanks between

    static Site read(Path file) throws Exception {
        Properties given = new Properties();
        try (var text = Files.newBufferedReader(file)) {
            given.load(text);
        }
        return new Site(
                given.getProperty("address"),
                Boolean.parseBoolean(given.getProperty("secure")),
                given.getProperty("mllp"),
                given.getProperty("syslog"),
                given.getProperty("authority"),
                given.getProperty("home"),
                given.getProperty("repository"),
                given.getProperty("source"),
                given.getProperty("images"));
    }
}
