use idem_rocketmq::prelude::*;

mod payments {
    pub async fn book(_: String) {}
}

fn main() {
    let _ = handlers![payments::book];
}
