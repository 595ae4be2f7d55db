import java.io.BufferedReader;
import java.io.BufferedWriter;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.OutputStreamWriter;
import java.io.Writer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Semaphore;
import java.util.concurrent.ThreadLocalRandom;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.common.compression.CompressionType;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/**
 * {@code load TOPIC}: every way in which Apache's producers send, side by side and as fast as they are let: plain, compressed
 * with zlib, LZ4 and ZSTD, in batches, and in transactions that are committed, rolled back, or decided when the broker asks.
 *
 * <p>A number on a line of the input lets each kind send so many more messages; {@code end} ends them, and {@code over} is said
 * when all have ended. Transactions are answered for until the input ends. For each message there is a line of the output:
 * {@code sent KEY} for one that is to be handled, {@code undone KEY} for one that must not be, {@code unsure KEY} where the
 * broker's answer did not come.
 */
public class JavaLoad {
    /** Compresses all but the shortest bodies. */
    private static final int COMPRESSED_OVER = 64;
    private static final int BATCH = 8;
    /** A transaction costs as much as so many other messages. */
    private static final int TRANSACTION = 4;
    private static final String RUN = Long.toString(System.currentTimeMillis(), 36);

    private static final Writer OUT = new BufferedWriter(new OutputStreamWriter(System.out, StandardCharsets.UTF_8));
    private static final List<Thread> KINDS = new ArrayList<>();
    private static final List<Semaphore> PERMITS = new ArrayList<>();
    private static volatile boolean isOver;

    private interface Sending {
        void send(int number) throws Exception;
    }

    public static void main(String[] arguments) throws Exception {
        String topic = arguments[0];
        single("plain", topic, null);
        single("zlib", topic, CompressionType.ZLIB);
        single("lz4", topic, CompressionType.LZ4);
        single("zstd", topic, CompressionType.ZSTD);
        batches(topic);
        transactions(topic, CompressionType.ZSTD);
        say("ready", "");
        BufferedReader input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = input.readLine(); line != null; line = input.readLine()) {
            if (line.equals("end")) {
                end();
            } else {
                int more = Integer.parseInt(line.trim());
                PERMITS.forEach(permits -> permits.release(more));
            }
        }
        System.exit(0);
    }

    private static void end() throws Exception {
        isOver = true;
        PERMITS.forEach(permits -> permits.release(1_000));
        for (Thread kind : KINDS) {
            kind.join();
        }
        say("over", "");
    }

    private static void single(String kind, String topic, CompressionType compression) throws Exception {
        DefaultMQProducer producer = started(new DefaultMQProducer("load_" + kind + RUN), kind, compression);
        repeat(kind, 1, number -> {
            String key = key(kind, number);
            // Some are sent twice, as by a business that tries again.
            for (int copy = 0; copy < (number % 20 == 0 ? 2 : 1); copy++) {
                tell(key, producer.send(order(topic, key)));
            }
        });
    }

    /** Apache's producers do not compress them. */
    private static void batches(String topic) throws Exception {
        DefaultMQProducer producer = started(new DefaultMQProducer("load_batch" + RUN), "batch", CompressionType.ZLIB);
        repeat("batch", BATCH, number -> {
            List<Message> batch = new ArrayList<>();
            for (int place = 0; place < BATCH; place++) {
                batch.add(order(topic, key("batch", number * BATCH + place)));
            }
            SendResult result;
            try {
                result = producer.send(batch);
            } catch (Exception unsure) {
                result = null;
            }
            for (Message message : batch) {
                tell(message.getKeys(), result);
            }
        });
    }

    private static void transactions(String topic, CompressionType compression) throws Exception {
        TransactionMQProducer producer = new TransactionMQProducer("load_transaction" + RUN);
        producer.setTransactionListener(new TransactionListener() {
            @Override
            public LocalTransactionState executeLocalTransaction(Message half, Object number) {
                return isAskedFor((int) number) ? LocalTransactionState.UNKNOW : end(half.getKeys());
            }

            @Override
            public LocalTransactionState checkLocalTransaction(MessageExt half) {
                return end(half.getKeys());
            }

            private LocalTransactionState end(String key) {
                int number = Integer.parseInt(key.substring(key.lastIndexOf('-') + 1));
                return isUndone(number) ? LocalTransactionState.ROLLBACK_MESSAGE : LocalTransactionState.COMMIT_MESSAGE;
            }
        });
        started(producer, "transaction", compression);
        repeat("transaction", TRANSACTION, number -> {
            String key = key("transaction", number);
            if (isUndone(number)) {
                say("undone", key);
            }
            SendResult result = producer.sendMessageInTransaction(order(topic, key), number);
            if (!isUndone(number)) {
                tell(key, result);
            }
        });
    }

    private static boolean isAskedFor(int number) {
        return number % 5 >= 3;
    }

    private static boolean isUndone(int number) {
        return number % 5 == 2 || number % 5 == 4;
    }

    private static <P extends DefaultMQProducer> P started(P producer, String kind, CompressionType compression)
            throws Exception {
        // A connection of its own for each.
        producer.setInstanceName(kind);
        producer.setSendMsgTimeout(10_000);
        producer.setCompressMsgBodyOverHowmuch(compression == null ? Integer.MAX_VALUE : COMPRESSED_OVER);
        if (compression != null) {
            producer.setCompressType(compression);
        }
        producer.start();
        return producer;
    }

    /** A thread that sends as long as there are permits. */
    private static void repeat(String kind, int cost, Sending sending) {
        Semaphore permits = new Semaphore(0);
        Thread thread = new Thread(() -> {
            for (int number = 0; ; number++) {
                permits.acquireUninterruptibly(cost);
                if (isOver) {
                    return;
                }
                try {
                    sending.send(number);
                } catch (Exception error) {
                    say("unsure", key(kind, number));
                }
            }
        }, kind);
        PERMITS.add(permits);
        KINDS.add(thread);
        thread.start();
    }

    private static String key(String kind, int number) {
        return kind + "-" + number;
    }

    private static void tell(String key, SendResult result) {
        say(result != null && result.getSendStatus() == SendStatus.SEND_OK ? "sent" : "unsure", key);
    }

    /** Some runs of it fail at first, and some take their time. The rest of the body is for the compressors. */
    private static Message order(String topic, String key) {
        ThreadLocalRandom random = ThreadLocalRandom.current();
        int fails = random.nextInt(50) == 0 ? 1 : 0;
        int millis = random.nextInt(100) == 0 ? random.nextInt(500) : random.nextInt(4);
        StringBuilder note = new StringBuilder();
        int words = random.nextInt(50) == 0 ? 2_000 : random.nextInt(60);
        for (int word = 0; word < words; word++) {
            note.append("a word and ").append(random.nextInt(1_000)).append(' ');
        }
        String body = "{\"id\":\"" + key + "\",\"millis\":" + millis + ",\"fails\":" + fails + ",\"note\":\"" + note + "\"}";
        return new Message(topic, "", key, body.getBytes(StandardCharsets.UTF_8));
    }

    private static synchronized void say(String word, String key) {
        try {
            OUT.write(word + " " + key + "\n");
            OUT.flush();
        } catch (IOException gone) {
            System.exit(1);
        }
    }
}
