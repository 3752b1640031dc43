//! Merging, over streams that are made up.

use super::*;

use crate::outcome::Advice;
use crate::storage::ListedClass;

fn listed(key: &str) -> Listed {
    Listed { key: key.to_owned(), size: 1, etag: None, last_modified: None, class: ListedClass::Standard }
}

fn keyed(key: &str) -> KeyedRow {
    let row = InventoryRow {
        id: None,
        schema: SchemaName::try_from("ContactFile").unwrap(),
        key: None,
        in_s3: true,
        size: None,
        data: None,
        owner: Owner::Fine,
    };
    KeyedRow { key: ObjectKey::try_from(key).unwrap(), row }
}

fn stream<T: Keyed>(pages: Vec<Result<Vec<T>, Failure>>) -> Ahead<T> {
    Ahead::new("a stream".to_owned(), |sender| async move {
        for page in pages {
            if sender.send(page).await.is_err() {
                return;
            }
        }
    })
}

fn entries(rows: &[&[&str]], object: &[&[&str]], copy: &[&[&str]]) -> Entries {
    let list = |pages: &[&[&str]]| {
        stream(pages.iter().map(|page| Ok(page.iter().map(|key| listed(key)).collect())).collect())
    };
    let rows = stream(rows.iter().map(|page| Ok(page.iter().map(|key| keyed(key)).collect())).collect());
    Entries { rows: vec![rows], object: list(object), copy: list(copy) }
}

async fn merged(mut entries: Entries) -> Result<Vec<(String, usize, bool, bool)>, Failure> {
    let mut all = Vec::new();
    while let Some(entry) = entries.next().await? {
        all.push((entry.key, entry.rows.len(), entry.object.is_some(), entry.copy.is_some()));
    }
    Ok(all)
}

#[tokio::test]
async fn what_has_the_same_key_is_one_entry_in_ascending_order() {
    let entries = entries(&[&["b", "b"], &["d"]], &[&["a"], &[], &["b", "c"]], &[&["c", "d"], &["e"]]);
    let expected = [
        ("a".to_owned(), 0, true, false),
        ("b".to_owned(), 2, true, false),
        ("c".to_owned(), 0, true, true),
        ("d".to_owned(), 1, false, true),
        ("e".to_owned(), 0, false, true),
    ];
    assert_eq!(merged(entries).await.unwrap(), expected);
}

#[tokio::test]
async fn nothing_anywhere_is_no_entry() {
    assert_eq!(merged(entries(&[], &[], &[])).await.unwrap(), []);
}

#[tokio::test]
async fn keys_that_do_not_ascend_are_an_error_and_no_entry() {
    for (object, copy) in [(vec!["b", "a"], vec![]), (vec![], vec!["b", "a"])] {
        let failed = merged(entries(&[], &[&object], &[&copy])).await.unwrap_err();
        assert!(failed.error.contains("'a' comes after 'b'"), "{failed}");
    }
    let failed = merged(entries(&[&["b"], &["a"]], &[], &[])).await.unwrap_err();
    assert!(failed.error.contains("'a' comes after 'b'"), "{failed}");
}

#[tokio::test]
async fn a_page_that_fails_is_the_walks_failure() {
    let object = stream(vec![Ok(vec![listed("a")]), Err(Failure::new(Advice::Retry, "cut"))]);
    let empty = || stream::<Listed>(Vec::new());
    let entries = Entries { rows: Vec::new(), object, copy: empty() };
    let failed = merged(entries).await.unwrap_err();
    assert_eq!(failed.error, "a stream: cut");
}

#[tokio::test]
async fn a_reader_that_panics_is_not_at_its_end() {
    let object = Ahead::<Listed>::new("a stream".to_owned(), |sender| async move {
        let _ = sender.send(Ok(vec![listed("a")])).await;
        panic!("on purpose");
    });
    let empty = || stream::<Listed>(Vec::new());
    let entries = Entries { rows: Vec::new(), object, copy: empty() };
    let failed = merged(entries).await.unwrap_err();
    assert_eq!(failed.error, "a stream: it panicked");
}

#[test]
fn of_more_rows_than_are_kept_the_one_that_counts_is() {
    let row = |in_s3, owner| InventoryRow { in_s3, owner, ..keyed("k").row };
    let mut rows: Vec<_> = (0..ROWS_KEPT).map(|_| row(false, Owner::Fine)).collect();
    keep(&mut rows, row(true, Owner::Gone));
    assert_eq!(rows.iter().filter(|row| row.in_s3).count(), 1);
    let mut rows: Vec<_> = (0..ROWS_KEPT).map(|_| row(true, Owner::Gone)).collect();
    keep(&mut rows, row(false, Owner::Fine));
    keep(&mut rows, row(true, Owner::Fine));
    assert_eq!(rows.iter().filter(|row| row.owner == Owner::Fine).count(), 1);
    assert_eq!(rows.len(), ROWS_KEPT);
}
