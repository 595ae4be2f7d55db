//! The warehouse's tables, as diesel knows them.

use diesel::prelude::*;
use diesel::table;

table! {
    example_stock (sku) {
        sku -> BigInt,
        pieces -> BigInt,
    }
}

table! {
    example_picks (id) {
        id -> Text,
        sku -> BigInt,
        pieces -> BigInt,
    }
}

/// A row of a pick that was made.
#[derive(Insertable)]
#[diesel(table_name = example_picks)]
pub(crate) struct NewPick<'a> {
    pub(crate) id: &'a str,
    pub(crate) sku: i64,
    pub(crate) pieces: i64,
}

/// They are made anew by each run. No pick has a key of its own: what keeps it from being made twice is its message's.
pub(crate) const TABLES: &str = "
    DROP TABLE IF EXISTS example_stock, example_picks;
    CREATE TABLE example_stock (sku bigint PRIMARY KEY, pieces bigint NOT NULL CHECK (pieces >= 0));
    CREATE TABLE example_picks (id text NOT NULL, sku bigint NOT NULL, pieces bigint NOT NULL);
";
