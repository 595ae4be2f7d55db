use idem_rocketmq::sql::guard;

async fn ship(tx: &mut sqlx::PgConnection) {
    let _ = guard::advance_state("orders").id("order_id", 7).to("SHIPPED").apply(tx).await;
}

fn main() {}
