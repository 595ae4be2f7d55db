use idem_rocketmq::prelude::*;

struct OrderPaid {}

async fn pay(producer: &Producer) {
    drop(producer.send(&OrderPaid {}).await);
}

fn main() {}
