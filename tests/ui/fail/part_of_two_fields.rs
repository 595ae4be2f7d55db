use idem_rocketmq::KeyPart;

#[derive(KeyPart)]
struct Id(u64, String);

fn main() {}
