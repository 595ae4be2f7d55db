use idem_rocketmq::KeyPart;

#[derive(KeyPart)]
struct Amount(f64);

fn main() {}
