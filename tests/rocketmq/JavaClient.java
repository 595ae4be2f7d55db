import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/**
 * Apache's own client, for the tests that idem and it understand each other. NAMESRV_ADDR names the name server.
 *
 * <p>{@code send TOPIC} sends orders: {@code plain}, {@code delayed} by two seconds, and {@code batch-0} to {@code batch-2}.
 *
 * <p>{@code consume GROUP TOPIC TAGS [ADDRESS]} says {@code ready}, and then a line for each message until its input ends;
 * ADDRESS stands first in its client id, by which members are put in order. An order whose id begins with {@code twice} fails
 * at its first delivery.
 */
public class JavaClient {
    public static void main(String[] arguments) {
        try {
            run(arguments);
        } catch (Exception error) {
            // The client's threads would keep the process.
            error.printStackTrace();
            System.exit(1);
        }
    }

    private static void run(String[] arguments) throws Exception {
        switch (arguments[0]) {
            case "send":
                send(arguments[1]);
                break;
            case "consume":
                consume(arguments);
                break;
            default:
                throw new IllegalArgumentException(arguments[0]);
        }
    }

    private static void send(String topic) throws Exception {
        DefaultMQProducer producer = new DefaultMQProducer("java_client");
        producer.start();
        producer.send(order(topic, "plain"));
        Message delayed = order(topic, "delayed");
        delayed.setDelayTimeMs(2000);
        producer.send(delayed);
        List<Message> batch = new ArrayList<>();
        for (int number = 0; number < 3; number++) {
            batch.add(order(topic, "batch-" + number));
        }
        producer.send(batch);
        producer.shutdown();
    }

    private static Message order(String topic, String id) {
        byte[] body = ("{\"id\":\"" + id + "\"}").getBytes(StandardCharsets.UTF_8);
        Message order = new Message(topic, "PAID", id + " order", body);
        order.putUserProperty("colour", "blue");
        return order;
    }

    private static void consume(String[] arguments) throws Exception {
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(arguments[1]);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(arguments[2], arguments[3]);
        if (arguments.length > 4) {
            consumer.setClientIP(arguments[4]);
        }
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            for (MessageExt message : messages) {
                String body = new String(message.getBody(), StandardCharsets.UTF_8);
                boolean fails = message.getReconsumeTimes() == 0 && body.contains("\"twice");
                say(fails ? "failed" : "done", message.getTopic(), message.getTags(), message.getKeys(),
                    message.getUserProperty("colour"), String.valueOf(message.getReconsumeTimes()), body);
                if (fails) {
                    return ConsumeConcurrentlyStatus.RECONSUME_LATER;
                }
            }
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        say("ready");
        while (System.in.read() >= 0) {
            // Until the test closes it.
        }
        consumer.shutdown();
        System.exit(0);
    }

    private static synchronized void say(String... columns) {
        System.out.println(String.join("\t", columns));
    }
}
