//! A shop with a table of payments in SQLite.

use idem_rocketmq::prelude::*;
use sqlx::SqliteConnection;
use tempfile::TempDir;

#[derive(Deserialize)]
pub(crate) struct Paid {
    pub(crate) id: String,
    pub(crate) fails: u32,
}

pub(crate) struct Shop {
    dir: TempDir,
}

impl Shop {
    pub(crate) async fn open() -> Self {
        let shop = Self { dir: tempfile::tempdir().unwrap() };
        sqlx::query("CREATE TABLE payments (id text NOT NULL)")
            .execute(&mut shop.session().await)
            .await
            .unwrap();
        shop
    }

    pub(crate) fn path(&self) -> std::path::PathBuf {
        self.dir.path().join("shop.db")
    }

    async fn session(&self) -> SqliteConnection {
        use sqlx::ConnectOptions as _;
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(self.path()).create_if_missing(true);
        options.connect().await.unwrap()
    }

    pub(crate) async fn store(&self) -> SqliteStore {
        SqliteStore::open(self.path()).await.unwrap()
    }

    pub(crate) async fn payments(&self) -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM payments")
            .fetch_one(&mut self.session().await)
            .await
            .unwrap()
    }
}

pub(crate) fn paid_on(topic: impl Into<String>, id: &str, fails: u32) -> Delivery {
    Delivery::builder(topic).body(format!(r#"{{"id":"{id}","fails":{fails}}}"#)).build()
}
