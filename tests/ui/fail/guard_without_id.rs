use idem_rocketmq::sql::guard;

async fn ship(tx: &mut sqlx::PgConnection) {
    let _ = guard::bump_version("orders").read(3).apply(tx).await;
}

fn main() {}
