//! What asking a large CRM costs: discovery, the alive check, and the locks that others see meanwhile.
//!
//! `ask check URL ROUNDS` prints what discovery and checks of 500 ids take; `ask locks URL` looks at the locks on the
//! CRM's tables until its standard input ends. Both print one JSON document.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use file_recycler::config::{self, Crm, Sources};
use file_recycler::db::Db;
use file_recycler::db::alive::Questions;
use file_recycler::db::catalog::Catalog;
use file_recycler::file::{FileId, Named, ObjectKey};
use secrecy::SecretString;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use uuid::Uuid;

type Failed = Box<dyn std::error::Error>;

/// Ids of one check, as a worker asks.
const IDS: usize = 500;
/// Pages of a table above which a sequential scan counts.
const LARGE: i64 = 1_000;

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let printed = match words.as_slice() {
        ["check", url, rounds] => check(url, rounds.parse()?).await?,
        ["locks", url] => locks(url).await?,
        _ => return Err("ask check URL ROUNDS, or ask locks URL".into()),
    };
    println!("{printed}");
    Ok(())
}

async fn check(url: &str, rounds: usize) -> Result<Value, Failed> {
    // As nobody has configured anything.
    let crm: Crm = config::load(&Sources::from_process(None, Vec::new()))?.config.crm;
    let mut plain = PgConnection::connect(url).await?;

    // One connection's first question includes what it takes to connect and to plan.
    let db = Db::connect(&SecretString::from(url))?;
    let (mut discover, mut discover_all) = (Vec::new(), Vec::new());
    let mut found = db.discover(&crm).await?;
    for _ in 0..rounds.min(20) {
        let once = async {
            found = db.discover(&crm).await?;
            Ok(())
        };
        discover.push(time(once).await?);
        let with_names = async {
            db.discover_all(&crm).await?;
            Ok(())
        };
        discover_all.push(time(with_names).await?);
    }
    let files = living(&mut plain, &found).await?;
    db.close().await;
    drop(plain);
    // Discovery and the choice of files read whole tables; that is not the check's.
    let mut plain = PgConnection::connect(url).await?;
    let before = until_told(&mut plain).await?;
    let db = Db::connect(&SecretString::from(url))?;
    let questions = Questions::new(&found);
    let (mut checks, mut one_by_one, mut first) = (Vec::new(), Vec::new(), None);
    for round in 0..rounds {
        let ids = ids(&files, round);
        // In turns, so that a disturbance of the machine meets both.
        let mut alive = 0;
        let took = time(async {
            let named = |id: &Uuid| -> Result<Named, Failed> {
                Ok(Named { id: FileId::from(*id), key: ObjectKey::try_from(id.to_string())? })
            };
            let asked: Vec<Named> = ids.iter().map(named).collect::<Result<_, _>>()?;
            let answer = db.check(&questions, &asked).await?;
            alive = answer.checked.liveness.iter().filter(|one| format!("{one:?}") == "Alive").count();
            Ok(())
        })
        .await?;
        if alive != IDS / 2 {
            return Err(format!("{alive} of {} living files are alive", IDS / 2).into());
        }
        first = first.or(Some(took));
        checks.push(took);
        one_by_one.push(time(ask_one_by_one(&mut plain, &found, &ids)).await?);
    }
    // A connection tells its statistics when it ends.
    db.close().await;
    drop(plain);
    let mut plain = PgConnection::connect(url).await?;
    let after = until_told(&mut plain).await?;
    let large: BTreeMap<String, i64> = after
        .iter()
        .map(|(table, (scans, _))| (table.clone(), scans - before.get(table).map_or(0, |(scans, _)| *scans)))
        .filter(|(table, scans)| *scans > 0 && after[table].1 > LARGE)
        .collect();
    let [checked, singly] = [summary(&checks[1..]), summary(&one_by_one[1..])];
    Ok(json!({
        "file_tables": found.file_tables.len(),
        "record_tables": found.record_tables.len(),
        "ids": IDS,
        "rounds": rounds,
        "discovery_ms": summary(&discover),
        "discovery_with_what_weak_files_name_ms": summary(&discover_all),
        "first_check_ms": first.map(milliseconds),
        "check_ms": checked,
        "one_statement_for_each_table_ms": singly,
        "sequential_scans_of_large_tables": large,
    }))
}

/// The peer: a statement for each table, one after another, prepared.
async fn ask_one_by_one(plain: &mut PgConnection, catalog: &Catalog, ids: &[Uuid]) -> Result<(), Failed> {
    for file in &catalog.file_tables {
        let sql = format!(r#"SELECT "Id" FROM "{}" WHERE "Id" = ANY($1)"#, file.schema.as_str());
        let _: Vec<Uuid> = sqlx::query_scalar(AssertSqlSafe(sql)).bind(ids).fetch_all(&mut *plain).await?;
    }
    Ok(())
}

/// Some living files of every table.
async fn living(plain: &mut PgConnection, catalog: &Catalog) -> Result<Vec<Uuid>, Failed> {
    let mut files = Vec::new();
    for file in &catalog.file_tables {
        let sql = format!(
            r#"SELECT "Id" FROM "{}" TABLESAMPLE BERNOULLI (5)
                WHERE "SysFileStorageId" IN (SELECT "Id" FROM "SysFileContentStorage" WHERE "Code" = 'S3_storage') LIMIT 500"#,
            file.schema.as_str()
        );
        files.extend(sqlx::query_scalar::<_, Uuid>(AssertSqlSafe(sql)).fetch_all(&mut *plain).await?);
    }
    Ok(files)
}

/// Half of them living, of all tables, others in every round; half of them dead.
fn ids(files: &[Uuid], round: usize) -> Vec<Uuid> {
    // A step that has no divisor in common with anything here visits every place.
    let living = (0..IDS / 2).map(|n| files[(round * (IDS / 2) + n) * 7_919 % files.len()]);
    let mut ids: Vec<Uuid> = living.collect();
    ids.sort_unstable();
    ids.dedup();
    let mut next = files.iter().copied();
    while ids.len() < IDS / 2 {
        let Some(file) = next.next() else { break };
        if !ids.contains(&file) {
            ids.push(file);
        }
    }
    ids.extend((0..IDS / 2).map(|_| Uuid::new_v4()));
    ids
}

/// Sequential scans and pages of each table.
async fn scans(plain: &mut PgConnection) -> Result<BTreeMap<String, (i64, i64)>, Failed> {
    let rows: Vec<(String, i64, i64)> = sqlx::query_as(
        "SELECT s.relname::text, s.seq_scan, c.relpages::bigint FROM pg_stat_user_tables AS s
           JOIN pg_class AS c ON c.oid = s.relid WHERE s.schemaname = 'public'",
    )
    .fetch_all(&mut *plain)
    .await?;
    Ok(rows.into_iter().map(|(table, scans, pages)| (table, (scans, pages))).collect())
}

/// Statistics come late: until the index scans of the checks are told, too.
async fn until_told(plain: &mut PgConnection) -> Result<BTreeMap<String, (i64, i64)>, Failed> {
    for _ in 0..100 {
        let told: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
                AND backend_type = 'client backend'",
        )
        .fetch_one(&mut *plain)
        .await?;
        if told == 0 {
            return scans(plain).await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err("connections do not end".into())
}

/// Locks that keep writers away: how long each was held, and how long somebody waited for it with writers behind.
async fn locks(url: &str) -> Result<Value, Failed> {
    type Lock = (i32, String, bool);
    let mut plain = PgConnection::connect(url).await?;
    let (mut since, mut longest) = (BTreeMap::<Lock, Instant>::new(), BTreeMap::<bool, (f64, String)>::new());
    let (mut looks, mut tables) = (0_u32, std::collections::BTreeSet::new());
    let began = Instant::now();
    let input = std::thread::spawn(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink()));
    loop {
        let ended = input.is_finished();
        tokio::time::sleep(Duration::from_millis(1)).await;
        let now = Instant::now();
        let seen: Vec<Lock> = sqlx::query_as(
            "SELECT l.pid, c.relname::text, l.granted FROM pg_locks AS l JOIN pg_class AS c ON c.oid = l.relation
              WHERE l.locktype = 'relation' AND c.relnamespace = 'public'::regnamespace
                AND l.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')",
        )
        .fetch_all(&mut plain)
        .await?;
        looks += 1;
        tables.extend(seen.iter().map(|(_, table, _)| table.clone()));
        let gone: Vec<Lock> = since.keys().filter(|lock| !seen.contains(lock)).cloned().collect();
        for lock in gone {
            let held = now - since.remove(&lock).unwrap_or(now);
            let most = longest.entry(lock.2).or_default();
            if milliseconds(held) > most.0 {
                *most = (milliseconds(held), lock.1);
            }
        }
        for lock in seen {
            since.entry(lock).or_insert(now);
        }
        if ended {
            break;
        }
    }
    Ok(json!({
        "looks": looks,
        "a_look_every_ms": milliseconds(began.elapsed()) / f64::from(looks),
        "tables": tables.len(),
        "longest_held": longest.get(&true),
        "longest_waited_for": longest.get(&false),
    }))
}

async fn time(what: impl Future<Output = Result<(), Failed>>) -> Result<Duration, Failed> {
    let began = Instant::now();
    what.await?;
    Ok(began.elapsed())
}

fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 100_000.0).round() / 100.0
}

fn summary(of: &[Duration]) -> Value {
    let mut sorted = of.to_vec();
    sorted.sort_unstable();
    let at = |share: usize| {
        sorted.get((sorted.len() * share / 100).min(sorted.len() - 1)).map(|it| milliseconds(*it))
    };
    json!({ "median": at(50), "p95": at(95), "most": at(100) })
}
