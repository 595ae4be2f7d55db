//! Statements over as many rows as a batch has, for databases that take no arrays.

use std::fmt::Write as _;
use std::sync::OnceLock;

use sqlx::{AssertSqlSafe, SqlSafeStr as _, SqlStr};

use super::names::Names;

/// The sizes that are kept. Most batches are of one listener call or of a few, which have 32 messages each: so these fit, and
/// nothing is filled up that the database would have to write for nothing.
const SIZES: [usize; 15] = [1, 2, 4, 8, 16, 32, 64, 96, 128, 160, 192, 224, 256, 512, 1_024];
const MARK: &str = "/*each*/";

/// One statement in a few sizes, each of which is prepared once for a connection.
///
/// A batch takes the next larger size, and its last entry fills what is left: every operation of a store can be repeated
/// with the same token.
pub(in crate::store) struct Shapes {
    template: String,
    texts: [OnceLock<SqlStr>; SIZES.len()],
}

impl Shapes {
    /// Of a statement of the SQL files: it is written for one row, which stands between two marks.
    pub(in crate::store) fn new(names: &Names, template: &str) -> Self {
        Self { template: names.text(template), texts: Default::default() }
    }

    /// The statement for so many entries, and each of them with the fill behind.
    pub(in crate::store) fn fit<'a, T>(
        &self,
        batch: &'a [T],
    ) -> (SqlStr, impl Iterator<Item = &'a T> + use<'a, T>) {
        let place = SIZES.partition_point(|size| *size < batch.len());
        let size = SIZES.get(place).copied().unwrap_or_else(|| batch.len().next_power_of_two());
        let text = || AssertSqlSafe(rows(&self.template, size)).into_sql_str();
        let statement = self.texts.get(place).map_or_else(text, |kept| kept.get_or_init(text).clone());
        (statement, batch.iter().chain(batch.last().into_iter().cycle()).take(size))
    }
}

fn rows(template: &str, count: usize) -> String {
    let Some((before, row, after)) = split(template) else { return template.to_owned() };
    let mut text = String::with_capacity(template.len() + count * (row.len() + 2));
    text.push_str(before);
    for index in 0..count {
        let separator = if index == 0 { "" } else { ", " };
        write!(text, "{separator}{row}").expect("writing to a String cannot fail");
    }
    text.push_str(after);
    text
}

/// The text before the row of parameters, the row, and the text behind it.
fn split(template: &str) -> Option<(&str, &str, &str)> {
    let (before, row) = template.split_once(MARK)?;
    let (row, after) = row.split_once(MARK)?;
    Some((before, row, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_takes_the_next_larger_size_and_its_last_entry_fills_it() {
        let shapes = Shapes::new(&Names::new('"'), "SELECT ? FROM (VALUES /*each*/(?, ?)/*each*/) LIMIT 1");
        let fit = |batch: &[u8]| {
            let (statement, entries) = shapes.fit(batch);
            (statement.as_str().to_owned(), entries.copied().collect::<Vec<_>>())
        };
        assert_eq!(fit(&[1]), ("SELECT ? FROM (VALUES (?, ?)) LIMIT 1".to_owned(), vec![1]));
        let four = "SELECT ? FROM (VALUES (?, ?), (?, ?), (?, ?), (?, ?)) LIMIT 1";
        assert_eq!(fit(&[1, 2, 3]), (four.to_owned(), vec![1, 2, 3, 3]));
        assert_eq!(fit(&[1, 2, 3, 4]).1, [1, 2, 3, 4]);
        let sizes = [0, 33, 96, 97, 257, 1_024, 2_000].map(|length| fit(&vec![0; length]).1.len());
        assert_eq!(sizes, [0, 64, 96, 128, 512, 1_024, 2_048]);
    }
}
