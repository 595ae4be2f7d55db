use idem_rocketmq::sql::guard;

async fn pay(pool: &sqlx::PgPool) {
    let _ = guard::lock_row("accounts").id("id", 7).apply(pool).await;
}

fn main() {}
