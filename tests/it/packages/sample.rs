//! The sample configuration that image and package bring.

use std::fs;

use super::{Folder, repository};
use crate::support::process;

const SAMPLE: &str = "deploy/examples/config.toml";

#[tokio::test]
async fn the_sample_configuration_is_good_as_it_is_and_with_every_line_of_it_taken_in() {
    let sample = fs::read_to_string(repository(SAMPLE)).unwrap();
    let folder = Folder::new();
    // A line of a key that is left out begins with "# key = ".
    let taken_in: String = sample
        .lines()
        .map(|line| match line.strip_prefix("# ").filter(|rest| is_setting(rest)) {
            Some(setting) => format!("{setting}\n"),
            None => format!("{line}\n"),
        })
        .collect();
    assert_eq!(taken_in.matches("\nobject_bucket_name = ").count(), 1, "{taken_in}");
    for (name, text) in [("as-it-is.toml", &sample), ("taken-in.toml", &taken_in)] {
        let path = folder.path(name);
        fs::write(&path, text).unwrap();
        let shown =
            process::run(&[], &["--config", path.to_str().unwrap(), "config", "show", "--json"]).await;
        assert_eq!(shown.expect(0).json()["recycle.grace"], "15m", "{name}");
    }
}

fn is_setting(text: &str) -> bool {
    text.split_once(" = ").is_some_and(|(key, _)| key.bytes().all(|c| c.is_ascii_lowercase() || c == b'_'))
}
