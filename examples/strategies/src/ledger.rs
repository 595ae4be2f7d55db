//! The example's tables, in whatever database there is.

use std::collections::HashMap;

use sqlx::{AnyConnection, AssertSqlSafe, Connection as _, Executor as _};

use crate::Error;
use crate::place::Place;
use crate::storm;

/// The tables. Each strategy that works on rows has its own, and all write what they did into `example_books`.
const TABLES: [(&str, &str); 9] = [
    (
        "example_books",
        "strategy varchar(40) NOT NULL, member varchar(40) NOT NULL, order_id varchar(40) NOT NULL",
    ),
    ("example_log", "operation varchar(40) NOT NULL PRIMARY KEY"),
    ("example_payments", "order_id varchar(40) NOT NULL PRIMARY KEY, cents bigint NOT NULL"),
    ("example_sales", "order_id varchar(40) NOT NULL PRIMARY KEY, state varchar(10) NOT NULL"),
    ("example_marked_sales", "order_id varchar(40) NOT NULL PRIMARY KEY"),
    ("example_states", "id varchar(40) NOT NULL PRIMARY KEY, state varchar(10) NOT NULL"),
    ("example_locks", "id varchar(40) NOT NULL PRIMARY KEY, state varchar(10) NOT NULL"),
    ("example_versions", "id varchar(40) NOT NULL PRIMARY KEY, version bigint NOT NULL"),
    ("example_buyers", "id bigint NOT NULL PRIMARY KEY, version bigint NOT NULL"),
];

/// The markers' table, which idem makes itself, and another one beside it.
pub(crate) const OUTBOX_TABLE: &str = "example_outbox";

pub(crate) struct Ledger(String);

/// Lines in the books: of a strategy, of a member, of an order.
#[derive(Default)]
pub(crate) struct Counts(HashMap<String, Count>);

#[derive(Clone, Copy, Default)]
pub(crate) struct Count {
    pub(crate) lines: usize,
    /// Lines beyond the first of an order in a member.
    pub(crate) repeated: usize,
}

impl Counts {
    pub(crate) fn of(&self, strategy: &str) -> Count {
        self.0.get(strategy).copied().unwrap_or_default()
    }
}

impl Ledger {
    pub(crate) async fn create(place: &Place) -> Result<Self, Error> {
        sqlx::any::install_default_drivers();
        let ledger = Self(place.database_url().to_owned());
        let mut session = ledger.session().await?;
        // The keys of an earlier run are committed there.
        for table in [OUTBOX_TABLE, &format!("{OUTBOX_TABLE}_meta")] {
            session.execute(AssertSqlSafe(format!("DROP TABLE IF EXISTS {table}"))).await?;
        }
        for (table, columns) in TABLES {
            session.execute(AssertSqlSafe(format!("DROP TABLE IF EXISTS {table}"))).await?;
            session.execute(AssertSqlSafe(format!("CREATE TABLE {table} ({columns})"))).await?;
        }
        let rows = |value: &str| storm::orders().map(|id| format!("('{id}', {value})")).collect::<Vec<_>>();
        let buyers: Vec<_> = storm::buyers().map(|id| format!("({id}, 0)")).collect();
        for (table, rows) in [
            ("example_states", rows("'NEW'")),
            ("example_locks", rows("'NEW'")),
            ("example_versions", rows("0")),
            ("example_buyers", buyers),
        ] {
            session.execute(AssertSqlSafe(format!("INSERT INTO {table} VALUES {}", rows.join(", ")))).await?;
        }
        Ok(ledger)
    }

    async fn session(&self) -> sqlx::Result<AnyConnection> {
        AnyConnection::connect(&self.0).await
    }

    pub(crate) async fn counts(&self) -> Result<Counts, Error> {
        let sql = "SELECT strategy, count(*) FROM example_books GROUP BY strategy, member, order_id";
        let orders: Vec<(String, i64)> = sqlx::query_as(sql).fetch_all(&mut self.session().await?).await?;
        let mut counts = Counts::default();
        for (strategy, lines) in orders {
            let count = counts.0.entry(strategy).or_default();
            let lines = usize::try_from(lines)?;
            count.lines += lines;
            count.repeated += lines - 1;
        }
        Ok(counts)
    }
}
