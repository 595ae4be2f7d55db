use idem_rocketmq::KeyPart;

#[derive(KeyPart)]
enum Id {
    Order(u64),
}

fn main() {}
