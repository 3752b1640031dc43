//! The readers: each walks its range page by page, and sends what it finds.

use std::sync::Arc;

use uuid::Uuid;

use super::ahead::Pages;
use super::{KeyedRow, Range, key_of, patience};
use crate::db::inventory::{Place, Reading};
use crate::db::{Db, DbError, Problem};
use crate::file::OWN_PREFIX;
use crate::key_template::KeyTemplate;
use crate::outcome::{Advice, Failure};
use crate::retry::outlast;
use crate::storage::{Listed, Side, Storage};

pub(super) async fn listing(storage: Storage, side: Side, range: Range, pages: Pages<Listed>) {
    let mut token: Option<String> = None;
    // One page is read ahead, and none beside it: a place for it first. Nobody takes it any more: whoever merged has failed,
    // or was stopped.
    while let Ok(place) = pages.reserve().await {
        let page = outlast(patience(), || async {
            Ok::<_, Failure>(storage.list(side, Some(&range.after), token.as_deref()).await?)
        });
        let mut page = match page.await {
            Ok(page) => page,
            Err(failure) => return place.send(Err(failure)),
        };
        let listed = page.objects.len();
        let within = |object: &Listed| range.until.as_ref().is_none_or(|until| object.key <= *until);
        page.objects.retain(within);
        let more = page.objects.len() == listed;
        page.objects.retain(|object| !object.key.starts_with(OWN_PREFIX));
        place.send(Ok(page.objects));
        if !more || page.next.is_none() {
            return;
        }
        token = page.next;
    }
}

/// What no waiting mends is told at once.
pub(super) fn unless_it_passes(error: DbError) -> Failure {
    let lasts = matches!(error.problem(), Problem::Unsettled | Problem::NotReady(_))
        || error.is_denied()
        || error.is_missing();
    let failure = Failure::from(error);
    if lasts { Failure { advice: Advice::Hold, ..failure } } else { failure }
}

pub(super) async fn rows(
    db: Db,
    reading: Arc<Reading>,
    template: KeyTemplate,
    group: usize,
    (first, last): (Uuid, Uuid),
    pages: Pages<KeyedRow>,
) {
    let mut begins = Place::first(first);
    while let Ok(place) = pages.reserve().await {
        let page = outlast(patience(), || async {
            db.inventory_page(&reading, group, &begins, last).await.map_err(unless_it_passes)
        });
        let page = match page.await {
            Ok(page) => page,
            Err(failure) => return place.send(Err(failure)),
        };
        let keyed = page.rows.into_iter().filter_map(|row| {
            let key = key_of(&reading, &template, &row)?;
            Some(KeyedRow { key, row })
        });
        place.send(Ok(keyed.collect()));
        match page.next {
            Some(next) => begins = next,
            None => return,
        }
    }
}
