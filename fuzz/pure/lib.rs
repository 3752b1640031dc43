//! The modules of `src/` that the fuzz targets are about, and those that they need.

#[path = "../../src/config/mod.rs"]
pub mod config;
#[path = "../../src/event/mod.rs"]
pub mod event;
#[path = "../../src/file.rs"]
pub mod file;
#[path = "../../src/key_template.rs"]
pub mod key_template;
// A macro that other rooms use, too.
#[allow(unused_imports)]
#[path = "../../src/outcome.rs"]
pub mod outcome;
