use idem_rocketmq::sql::guard;

async fn ship(tx: sqlx::PgTransaction<'_>) {
    let _ = guard::advance_state("orders").id("order_id", 7).from("PAID").to("SHIPPED").apply(&tx).await;
}

fn main() {}
