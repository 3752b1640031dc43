//! Every verdict, by a table.
