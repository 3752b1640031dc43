//! The guide: every command in it is run, in order, in a world of its page's own.
//!
//! Each line that begins with `$ ` in a ```console block of README.md and of docs/ is run by bash, exactly as it is
//! written, but for what no page can know (below), or it is in the list of what cannot run here (`elsewhere.rs`). It has to
//! end with exit code 0, or with the one that its comment tells the reader: `# exits 1: …`. Where the block shows output, the
//! command's own has to have those lines in that order; ids, times and numbers may be others, and `…` is anything.
//!
//! A page begins in a world that is installed, adopted and in good order, in which nothing runs and nobody has files.
//! What its commands need besides, a comment before the block says, which no reader sees: `<!-- guide: … -->`
//! (`scene.rs` has the sentences). Ids are made as the page has them.
//!
//! What is put in the place of what a page cannot know (`run.rs`): addresses (`postgres://…`, `127.0.0.1:8077`), absolute paths
//! (`/etc`, `/opt`, `/var/lib`, `/usr/local`, `/run`, which are folders of the page's own), the time of the backup for
//! every time, and for the word `ID` the id of the file that was arranged last.
//!
//! `GUIDE_PAGE=docs/restore.md` runs that page alone.

mod elsewhere;
mod page;
mod run;
mod scene;
mod shape;

use std::path::{Path, PathBuf};

use futures_util::StreamExt as _;

use page::Page;

/// Pages at a time: each has a process or two.
const AT_ONCE: usize = 3;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The README and every page below docs/.
pub fn pages() -> Vec<PathBuf> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            }
        }
    }
    let mut found = vec![root().join("README.md")];
    walk(&root().join("docs"), &mut found);
    found.sort();
    found
}

#[tokio::test]
async fn every_command_of_the_guide_is_run() {
    let only = std::env::var("GUIDE_PAGE").ok();
    let pages = pages().into_iter().filter_map(|path| {
        let name = path.strip_prefix(root()).unwrap().display().to_string();
        let page = Page::read(&name, &std::fs::read_to_string(&path).unwrap());
        (only.as_ref().is_none_or(|only| name.contains(only)) && !page.commands().is_empty()).then_some(page)
    });
    let pages: Vec<_> = pages.collect();
    assert!(!pages.is_empty(), "no page has a command");
    let wrong: Vec<Vec<String>> = futures_util::stream::iter(pages.into_iter().map(run::page))
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let wrong = wrong.concat();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n\n"));
}

/// A page with one block, as a writer would write it.
async fn wrong_with(lines: &str) -> String {
    let text = format!("# A page\n\n```console\n{lines}\n```\n");
    run::page(Page::read("a page", &text)).await.join("\n")
}

#[tokio::test]
async fn what_is_wrong_in_a_page_is_found() {
    for (lines, expected) in [
        ("$ file-recycler listener status", None),
        ("$ file-recycler listener status --jsn", Some("exit code 2")),
        ("$ file-recycler listener stauts", Some("exit code 2")),
        ("$ file-recycler explain nobody    # exits 1: nobody is an id", Some("exit code 2")),
        ("$ file-recycler dlq show --id nobody", Some("exit code 1")),
        ("$ file-recycler dlq show --id nobody   # exits 1: there is none", None),
        (
            "$ file-recycler listener status\ninstalled: 31 triggers expected, …\nthe CRM puts new files …",
            None,
        ),
        ("$ file-recycler listener status\nremoved: 31 triggers expected", Some("does not show")),
        ("$ file-recycler-of-another-name", Some("exit code 127")),
        ("$ kubectl get pods", None),
        ("$ kubectl exec deploy/recycler -- file-recycler status --watch 5", None),
        ("$ kubectl exec deploy/recycler -- file-recycler status --wach 5", Some("exit code 2")),
    ] {
        let wrong = wrong_with(lines).await;
        match expected {
            None => assert_eq!(wrong, "", "{lines}"),
            Some(expected) => assert!(wrong.contains(expected), "{lines}: '{wrong}'"),
        }
    }
}
