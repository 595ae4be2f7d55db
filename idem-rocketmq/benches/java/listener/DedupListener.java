import com.alibaba.fastjson2.JSON;
import com.alibaba.fastjson2.JSONObject;
import io.lettuce.core.RedisClient;
import io.lettuce.core.SetArgs;
import io.lettuce.core.api.sync.RedisCommands;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyContext;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.MessageExt;

/**
 * A listener as teams on Apache's client write it, by the protocol of RocketMQDedupListener: a marker with {@code SET NX}
 * before the work and {@code SET} behind it, one command after the other, on lettuce's shared connection, in 20 or more threads.
 *
 * <p>Arguments: name server, Redis, topic, group, threads, messages. Prints {@code cost RATE CPU_MICROS RESIDENT_MIB}.
 */
public class DedupListener {
    private static final int CONSUMING_MILLIS = 30_000;
    private static final long DONE_MILLIS = 345_600_000L;

    public static void main(String[] arguments) throws Exception {
        String group = arguments[3];
        int threads = Integer.parseInt(arguments[4]);
        Count count = new Count(Integer.parseInt(arguments[5]));
        RedisCommands<String, String> redis = RedisClient.create(arguments[1]).connect().sync();
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(group);
        consumer.setNamesrvAddr(arguments[0]);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.setConsumeThreadMin(threads);
        consumer.setConsumeThreadMax(threads);
        consumer.subscribe(arguments[2], "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            for (MessageExt message : messages) {
                JSONObject order = JSON.parseObject(message.getBody());
                String key = group + ":" + order.getString("order_id");
                if (redis.set(key, "consuming", SetArgs.Builder.nx().px(CONSUMING_MILLIS)) != null) {
                    count.one();
                    redis.set(key, "done", SetArgs.Builder.px(DONE_MILLIS));
                } else if (!"done".equals(redis.get(key))) {
                    return ConsumeConcurrentlyStatus.RECONSUME_LATER;
                }
            }
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        count.print();
        System.exit(0);
    }

    /** Counts messages, and measures from a tenth of them to the last one. */
    private static final class Count {
        private final int wanted;
        private final AtomicInteger messages = new AtomicInteger();
        private long begun;
        private long cpuBegun;
        private volatile long ended;
        private volatile long cpuEnded;

        Count(int wanted) {
            this.wanted = wanted;
        }

        void one() {
            int now = messages.incrementAndGet();
            if (now == wanted / 10) {
                begun = System.nanoTime();
                cpuBegun = cpu();
            } else if (now == wanted) {
                cpuEnded = cpu();
                ended = System.nanoTime();
            }
        }

        void print() throws Exception {
            while (ended == 0) {
                Thread.sleep(10);
            }
            double measured = wanted - wanted / 10;
            double perSecond = measured / ((ended - begun) / 1e9);
            System.out.println("cost " + perSecond + " " + (cpuEnded - cpuBegun) / 1e3 / measured + " " + residentMib());
        }

        private static long cpu() {
            return ((com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean()).getProcessCpuTime();
        }

        private static double residentMib() throws Exception {
            for (String line : Files.readAllLines(Path.of("/proc/self/status"))) {
                if (line.startsWith("VmHWM:")) {
                    return Double.parseDouble(line.split("\\s+")[1]) / 1024;
                }
            }
            return Double.NaN;
        }
    }
}
