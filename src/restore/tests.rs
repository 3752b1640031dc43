//! The decision, by a table.
