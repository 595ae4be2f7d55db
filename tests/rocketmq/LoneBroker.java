import org.apache.rocketmq.store.ha.DefaultHAService;

/**
 * The replication of a broker that has no replica: META-INF/service puts it in the place of the broker's own, which
 * listens on all interfaces, whatever the configuration says.
 */
public class LoneBroker extends DefaultHAService {
    /**
     * Called after the broker has begun to connect to its name servers and before it registers with those that it
     * has reached. Without the pause it mostly has reached none, and registers 10 seconds after its start only.
     */
    @Override
    public void start() throws InterruptedException {
        Thread.sleep(1000);
    }
}
