import de.bwaldvogel.mongo.MongoServer;
import de.bwaldvogel.mongo.backend.h2.H2Backend;

/** MongoDB's protocol over a file: `java -cp 'DIRECTORY/*' Mongo FILE PORT`. It ends when its standard input does. */
public class Mongo {
  public static void main(String[] arguments) throws Exception {
    MongoServer server = new MongoServer(new H2Backend(arguments[0]));
    server.bind("127.0.0.1", Integer.parseInt(arguments[1]));
    while (System.in.read() >= 0) {}
    server.shutdownNow();
  }
}
