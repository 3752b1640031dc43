//! Tests against real servers: each arranges through helpers, acts once, and looks from outside.

mod db_alive;
mod db_capture;
mod db_dangling;
mod db_environment;
mod db_outbox;
mod support;
