//! The times and numbers that the stores' pages promise.

mod numbers;
mod silence;
mod times;
