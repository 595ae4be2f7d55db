//! The three databases: for each what its handlers are compiled with, and the handlers. They are one text, because a handler takes
//! the connection of its database, and only the names in these files differ.

#![allow(clippy::duplicate_mod, reason = "the handlers are one text for all databases")]

pub(crate) mod mysql;
pub(crate) mod postgres;
pub(crate) mod sqlite;
