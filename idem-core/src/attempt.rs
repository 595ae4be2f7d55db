//! How often a key was tried.

/// Which run of the handler for this key it is, by idem's own count.
///
/// Only runs that failed count: a conflict, a failure of the store or a shutdown costs no attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    number: u32,
    max: u32,
}

impl Attempt {
    /// Attempt `number`, counted from 1, of at most `max`.
    pub fn new(number: u32, max: u32) -> Self {
        Self { number, max }
    }

    /// The number of this attempt, counted from 1.
    pub fn number(self) -> u32 {
        self.number
    }

    /// How many attempts there are before the message becomes a dead letter.
    pub fn max(self) -> u32 {
        self.max
    }

    /// Whether the message becomes a dead letter when this attempt fails.
    pub fn is_last(self) -> bool {
        self.number >= self.max
    }
}
