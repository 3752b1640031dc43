//! What would happen, over everything that can be found.
