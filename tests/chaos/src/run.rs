//! One run: prepare, disturb for a while, wait until it is quiet, check.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::Result;
use crate::check::{self, Invariant};
use crate::disturb::{self, Cuts, Victims};
use crate::fleet::{Fleet, Half, Ways};
use crate::model::Model;
use crate::scene::{Scene, Servers};
use crate::seed::Seed;
use crate::summary::Summary;
use crate::workload::{Notes, Workload};

/// Longest wait for the end of all work once nothing is disturbed any more.
const QUIET_WITHIN: Duration = Duration::from_mins(4);
const RECORDS_TO_BEGIN_WITH: usize = 100;

/// How to run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Actions follow from it.
    pub seed: u64,
    /// How long to disturb.
    pub length: Duration,
    /// How many workers there are usually.
    pub workers: usize,
    /// The program.
    pub binary: PathBuf,
    /// Logs, notes and actions go here.
    pub folder: PathBuf,
    /// Leave database, queues and buckets for a look.
    pub keep: bool,
}

/// What is checked meanwhile, added up.
struct Meanwhile {
    rounds: u64,
    invariants: Vec<Invariant>,
}

impl Meanwhile {
    fn add(&mut self, found: [Invariant; 2]) {
        self.rounds += 1;
        if self.invariants.is_empty() {
            self.invariants = found.into();
            return;
        }
        for (sum, one) in self.invariants.iter_mut().zip(found) {
            sum.checked += one.checked;
            sum.violated += one.violated;
            sum.examples.extend(one.examples.into_iter().take(20_usize.saturating_sub(sum.examples.len())));
        }
    }
}

/// Runs it.
///
/// # Errors
/// The chaos itself failed; what the program did wrong is in the summary.
pub async fn run(servers: Servers, plan: &Plan) -> Result<Summary> {
    std::fs::create_dir_all(&plan.folder)?;
    for entry in std::fs::read_dir(&plan.folder)? {
        // Of an earlier run: its lines would be counted again.
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "log") {
            std::fs::remove_file(path)?;
        }
    }
    let unique = uuid::Uuid::new_v4().simple().to_string();
    let scene = Scene::create(servers, format!("chaos-{}-{}", plan.seed, &unique[..8])).await?;
    let done = in_scene(&scene, plan).await;
    if plan.keep {
        eprintln!("kept: {}", scene.name);
    } else {
        let removed = scene.remove().await;
        if done.is_ok() {
            removed?;
        }
    }
    done
}

async fn in_scene(scene: &Scene, plan: &Plan) -> Result<Summary> {
    let ways = Ways::open(scene).await?;
    let folder = std::path::absolute(&plan.folder)?;
    let mut fleet = Fleet::new(&std::path::absolute(&plan.binary)?, scene, &ways, &folder);
    fleet.command_to_end(&["listener", "install"]).await?;
    fleet.command_to_end(&["adopt", "--apply"]).await?;
    let notes = Notes::default();
    let mut workload = Workload::new(scene.clone(), Seed::new(plan.seed, 1), notes.clone());
    workload.prepare(RECORDS_TO_BEGIN_WITH).await?;
    fleet.start(Half::Listen)?;
    for _ in 0..plan.workers {
        fleet.start(Half::Work)?;
    }

    let began = Instant::now();
    let ends = began + plan.length;
    let mut cuts = Cuts::default();
    let working = async {
        while Instant::now() < ends {
            workload.act().await?;
        }
        Ok::<_, crate::Error>(())
    };
    let watching = async {
        let mut seed = Seed::new(plan.seed, 3);
        let mut meanwhile = Meanwhile { rounds: 0, invariants: Vec::new() };
        while Instant::now() < ends {
            tokio::time::sleep(Duration::from_millis(500 + seed.number() % 5_000)).await;
            meanwhile.add(check::meanwhile(scene, || notes.now()).await?);
        }
        Ok::<_, crate::Error>(meanwhile)
    };
    let disturbing = async {
        let victims =
            Victims { scene, fleet: &mut fleet, ways: &ways, cuts: &mut cuts, workers: plan.workers };
        disturb_until(ends, victims, plan.seed, &folder).await
    };
    let ((), meanwhile, ()) = tokio::try_join!(working, watching, disturbing)?;

    let model = notes.now();
    std::fs::write(folder.join("model.json"), serde_json::to_vec(&model)?)?;
    let quiet_after = wait_until_quiet(scene, &model, &mut fleet).await?;
    fleet.stop_all().await?;
    let findings = check::finally(scene, &model).await?;
    let (panics, warnings, errors) = read_logs(&folder)?;
    Ok(Summary {
        seed: plan.seed,
        seconds: plan.length.as_secs(),
        workers: plan.workers,
        processes: fleet.counts.clone(),
        cuts,
        records: model.records.len(),
        files: model.files.len(),
        deletions: model.deletions,
        rolled_back: model.rolled_back,
        checks_meanwhile: meanwhile.rounds,
        quiet_after_seconds: quiet_after.map(|after| after.as_secs()),
        panics,
        warnings,
        errors,
        meanwhile: meanwhile.invariants,
        findings,
    })
}

async fn disturb_until(ends: Instant, mut victims: Victims<'_>, seed: u64, folder: &Path) -> Result<()> {
    let mut seed = Seed::new(seed, 2);
    let (mut told, began) = (String::new(), Instant::now());
    loop {
        let (pause, disturbance) = disturb::next(&mut seed);
        if Instant::now() + pause >= ends {
            std::fs::write(folder.join("actions.log"), told)?;
            return Ok(());
        }
        tokio::time::sleep(pause).await;
        victims.fleet.supervise()?;
        writeln!(told, "{:9.3} {disturbance:?}", began.elapsed().as_secs_f64())?;
        victims.suffer(disturbance).await?;
    }
}

/// How long it took; nothing where it never came.
async fn wait_until_quiet(scene: &Scene, model: &Model, fleet: &mut Fleet) -> Result<Option<Duration>> {
    let began = Instant::now();
    while began.elapsed() < QUIET_WITHIN {
        fleet.supervise()?;
        if check::is_quiet(scene, model).await? {
            return Ok(Some(began.elapsed()));
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    Ok(None)
}

/// Lines of the processes' logs that tell of a panic, of a warning, of an error.
fn read_logs(folder: &Path) -> Result<(usize, usize, usize)> {
    let (mut panics, mut warnings, mut errors) = (0, 0, 0);
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if name.ends_with("-listen.log") || name.ends_with("-work.log") {
            let text = String::from_utf8_lossy(&std::fs::read(&path)?).into_owned();
            panics += text.matches("panicked").count();
            warnings += text.matches(" WARN ").count();
            errors += text.matches(" ERROR ").count();
        }
    }
    Ok((panics, warnings, errors))
}
