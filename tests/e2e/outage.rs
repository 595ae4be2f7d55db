//! Stores that go away and come back.
