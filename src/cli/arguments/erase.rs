//! `erase`: which files, and why.

use std::path::PathBuf;

use clap::Args;

/// Removes files for good: every version in both buckets. A file that is in use, protected, or on its way to the recycle
/// bucket is refused. What was there is written down before anything goes, and looked for again afterwards. Nothing that
/// was erased can be brought back, except from backups of the buckets themselves.
#[derive(Args, Clone, Debug)]
pub(in crate::cli) struct Erase {
    /// The id of a file; may be repeated
    #[arg(long = "file", value_name = "ID", required = true)]
    pub(in crate::cli) files: Vec<String>,
    /// Why, for the receipt and the trail; no names in it, since both are kept
    #[arg(long, value_name = "TEXT", value_parser = why)]
    pub(in crate::cli) why: String,
    /// The object's key, where several files have the id (crm.profile "mapping" and "events")
    #[arg(long, value_name = "KEY")]
    pub(in crate::cli) key: Option<String>,
    /// Does it; without, it says what it would do
    #[arg(long)]
    pub(in crate::cli) apply: bool,
    /// Writes the receipt to this file, too, as JSON; it must not be there yet. Written with --apply only
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) receipt: Option<PathBuf>,
}

/// Longest reason, in characters.
const MAX_WHY: usize = 1_000;

fn why(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err("is empty".to_owned());
    }
    if text.chars().count() > MAX_WHY {
        return Err(format!("is longer than {MAX_WHY} characters"));
    }
    Ok(text.to_owned())
}
