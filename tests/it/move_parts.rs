//! Large objects: copied in their own parts, resumed after a death, aborted on failure, swept up when left behind.

use file_recycler::outcome::{Advice, Dependency, Outcome};
use file_recycler::storage::{Leftovers, Side};
use recycler_test_s3::{Action, Operation, Options, Rule, When};
use time::{Duration, OffsetDateTime};

use crate::support::parts::{notes, parts_of, put_in_parts, uploads};
use crate::support::registry::{Script, job_of, recycler};
use crate::support::storage::TestStorage;

const KEY: &str = "0f8fad5b-d9cb-469f-a165-70867728950e";
/// Larger than what is copied without a look.
const SIZE: Option<u64> = Some(6 * 1024 * 1024);

/// The embedded server, with parts as small as one likes.
async fn embedded() -> TestStorage {
    TestStorage::embedded(Options { min_part_size: 1, ..Options::default() }).await
}

fn cut(lengths: &[usize]) -> Vec<Vec<u8>> {
    lengths.iter().zip(b'a'..).map(|(length, letter)| vec![letter; *length]).collect()
}

async fn recycle(world: &TestStorage) -> Result<Outcome, Advice> {
    let server = world.storage.probe().await.unwrap();
    let recycler = recycler(&world.storage, server, &Script::default());
    recycler.recycle(job_of(KEY, SIZE)).await.map_err(|failure| failure.advice)
}

#[tokio::test]
async fn a_copy_has_the_boundaries_and_so_the_etag_of_its_source() {
    let world = embedded().await;
    for lengths in [&[5, 5, 5][..], &[5, 5, 2], &[5, 7, 3], &[3, 9, 1, 2], &[9, 1], &[4, 5, 4]] {
        let parts = cut(lengths);
        put_in_parts(&world, KEY, &parts).await;
        let source = world.client.head_object().bucket(&world.object).key(KEY).send().await.unwrap();
        assert_eq!(recycle(&world).await, Ok(Outcome::Moved), "{lengths:?}");
        let copy = world.client.head_object().bucket(&world.recycle).key(KEY).send().await.unwrap();
        assert_eq!(copy.e_tag(), source.e_tag(), "{lengths:?}");
        assert_eq!(world.get(Side::Recycle, KEY).await, Some(parts.concat()));
        world.delete(Side::Recycle, KEY).await;
    }
}

/// The limit of one CopyObject, and an object of nothing at all. Of content that takes no memory; ETags say nothing.
#[tokio::test]
async fn case_06_objects_around_the_limit_of_one_copy_move_whole_or_in_parts() {
    const GIB: u64 = 1 << 30;
    let world = TestStorage::embedded(Options { opaque_etags: true, ..Options::default() }).await;
    let server = world.storage.probe().await.unwrap();
    let recycler = recycler(&world.storage, server, &Script::default());
    let piece = bytes::Bytes::from(vec![b'x'; 64 << 20]);
    for (size, parts) in [(0, 0), (5 * GIB - 1, 0), (5 * GIB, 0), (5 * GIB + 1, 21)] {
        world.control().reset();
        world.control().put_repeated(&world.object, KEY, &piece, size).unwrap();
        assert_eq!(recycler.recycle(job_of(KEY, Some(size))).await, Ok(Outcome::Moved), "{size}");
        let copy = world.client.head_object().bucket(&world.recycle).key(KEY).send().await.unwrap();
        assert_eq!(copy.content_length(), Some(size.cast_signed()));
        assert_eq!(world.control().counts().of(Operation::UploadPartCopy), parts, "{size}");
        assert_eq!(world.control().keys(&world.object), Vec::<String>::new());
        world.delete(Side::Recycle, KEY).await;
    }
}

#[tokio::test]
async fn case_06_parts_are_aborted_on_failure() {
    let world = embedded().await;
    put_in_parts(&world, KEY, &cut(&[5, 5, 5])).await;
    for (operation, code) in [
        (Operation::UploadPartCopy, "InternalError"),
        (Operation::UploadPartCopy, "AccessDenied"),
        (Operation::CompleteMultipartUpload, "InternalError"),
    ] {
        let error = Action::Status { status: 500, code: code.to_owned(), when: When::Before };
        world.control().fault(Rule::new(operation, error).key(KEY));
        recycle(&world).await.unwrap_err();
        world.control().clear_faults();
        assert_eq!(uploads(&world).await, [], "{operation:?} {code}");
        assert_eq!(notes(&world).await, Vec::<String>::new());
    }
    assert_eq!(recycle(&world).await, Ok(Outcome::Moved));
}

#[tokio::test]
async fn a_part_that_fails_once_is_repeated_alone() {
    let world = embedded().await;
    put_in_parts(&world, KEY, &cut(&[5, 5, 5])).await;
    world.control().reset();
    let error = Action::Status { status: 500, code: "InternalError".to_owned(), when: When::Before };
    world.control().fault(Rule::new(Operation::UploadPartCopy, error).key(KEY).skip(1).times(1));
    assert_eq!(recycle(&world).await, Ok(Outcome::Moved));
    assert_eq!(world.control().counts().of(Operation::UploadPartCopy), 4);
    assert_eq!(world.control().counts().of(Operation::CreateMultipartUpload), 1);
}

#[tokio::test]
async fn an_outage_in_the_middle_aborts_nothing_and_the_next_try_goes_on() {
    let world = embedded().await;
    put_in_parts(&world, KEY, &cut(&[5; 12])).await;
    let server = world.storage.probe().await.unwrap();
    let recycler = recycler(&world.storage, server, &Script::default());
    // From the fifth part on, nobody answers anything.
    let dead = || Action::Close { when: When::Before };
    world.control().fault(Rule::new(Operation::UploadPartCopy, dead()).skip(4));
    world.control().fault(Rule::new(Operation::HeadObject, dead()).skip(5));
    let failure = recycler.recycle(job_of(KEY, SIZE)).await.unwrap_err();
    assert_eq!(failure.advice, Advice::Outage(Dependency::Storage), "{failure}");
    world.control().reset();
    assert_eq!(parts_of(&world, &uploads(&world).await[0]).await, 4);
    assert_eq!(recycler.recycle(job_of(KEY, SIZE)).await, Ok(Outcome::Moved));
    assert_eq!(world.control().counts().of(Operation::UploadPartCopy), 8);
    assert_eq!(world.control().counts().of(Operation::CreateMultipartUpload), 0);
    assert_eq!(notes(&world).await, Vec::<String>::new());
}

/// An upload of somebody else, which is none of our business however old it is.
async fn foreign_upload(world: &TestStorage) -> (String, String) {
    let create = world.client.create_multipart_upload().bucket(&world.recycle).key("foreign");
    ("foreign".to_owned(), create.send().await.unwrap().upload_id.unwrap())
}

/// A worker died, and nobody came after it.
#[cfg(feature = "failpoints")]
#[tokio::test]
async fn case_52_leftovers_of_dead_workers_are_aborted_when_idle_for_a_day() {
    use crate::move_crash::die_at;
    for world in TestStorage::both().await {
        let foreign = foreign_upload(&world).await;
        put_in_parts(&world, KEY, &[vec![b'a'; 5 << 20], vec![b'b'; 5 << 20], vec![b'c'; 9]]).await;
        die_at(&world, "storage::before_complete", SIZE).await;
        let began = uploads(&world).await;
        assert_eq!(began.len(), 2, "{}", world.name);
        let now = OffsetDateTime::now_utc();
        let swept = world.storage.abort_leftovers(now + Duration::hours(23)).await.unwrap();
        assert_eq!(swept, Leftovers { unfinished: 1, aborted: 0 }, "{}", world.name);
        assert_eq!(uploads(&world).await, began);
        let swept = world.storage.abort_leftovers(now + Duration::hours(25)).await.unwrap();
        assert_eq!(swept, Leftovers { unfinished: 1, aborted: 1 }, "{}", world.name);
        assert_eq!(uploads(&world).await, [foreign], "{}", world.name);
        assert_eq!(notes(&world).await, Vec::<String>::new());
        assert!(world.get(Side::Object, KEY).await.is_some());
    }
}

/// A copy that was cut off (by the broker's consumer time-out and a restart, say) is not begun again.
#[cfg(feature = "failpoints")]
#[tokio::test]
async fn case_52_a_copy_that_was_cut_off_is_resumed_from_its_parts() {
    use crate::move_crash::die_at;
    let world = embedded().await;
    put_in_parts(&world, KEY, &cut(&[5; 20])).await;
    die_at(&world, "storage::after_part", SIZE).await;
    let left = uploads(&world).await;
    let there = parts_of(&world, &left[0]).await;
    assert!((1..20).contains(&there), "{there} parts");
    world.control().reset();
    assert_eq!(recycle(&world).await, Ok(Outcome::Moved));
    let counts = world.control().counts();
    assert_eq!(counts.of(Operation::CreateMultipartUpload), 0, "not begun again");
    // What the dead one had asked for may have arrived a moment later.
    let copied = counts.of(Operation::UploadPartCopy);
    assert!(copied <= 20 - there as u64, "{copied} of 20 parts were copied, and {there} were there");
    assert_eq!(world.get(Side::Recycle, KEY).await, Some(cut(&[5; 20]).concat()));
    assert_eq!((uploads(&world).await, notes(&world).await), (vec![], vec![]));

    // On the server that others wrote, all of them are there before the death.
    let world = TestStorage::foreign().await;
    let parts = [vec![b'a'; 5 << 20], vec![b'b'; 9]];
    put_in_parts(&world, KEY, &parts).await;
    die_at(&world, "storage::before_complete", SIZE).await;
    let left = uploads(&world).await;
    assert_eq!(parts_of(&world, &left[0]).await, 2);
    assert_eq!(recycle(&world).await, Ok(Outcome::Moved));
    assert!(world.get(Side::Recycle, KEY).await.unwrap() == parts.concat());
    assert_eq!((uploads(&world).await, notes(&world).await), (vec![], vec![]));
}

/// Parts of an older source are never mixed with those of a newer one.
#[cfg(feature = "failpoints")]
#[tokio::test]
async fn a_copy_of_a_source_that_was_written_again_is_begun_again() {
    use crate::move_crash::die_at;
    for world in TestStorage::both().await {
        put_in_parts(&world, KEY, &[vec![b'a'; 5 << 20], vec![b'b'; 9]]).await;
        die_at(&world, "storage::before_complete", SIZE).await;
        let parts = [vec![b'A'; 5 << 20], vec![b'B'; 9]];
        put_in_parts(&world, KEY, &parts).await;
        assert_eq!(recycle(&world).await, Ok(Outcome::Moved), "{}", world.name);
        assert!(world.get(Side::Recycle, KEY).await.unwrap() == parts.concat(), "{}", world.name);
        assert_eq!((uploads(&world).await, notes(&world).await), (vec![], vec![]), "{}", world.name);
    }
}
