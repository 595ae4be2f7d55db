use idem_rocketmq::KeyPart;

#[derive(KeyPart)]
struct Id {
    value: u64,
}

fn main() {}
