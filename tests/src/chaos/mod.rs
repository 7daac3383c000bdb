//! Chaos: a seeded run over real processes that mixes faults, and judges what players, nodes and the operator's figures make
//! of them.
//!
//! The world is an origin and two edges behind links that this program carries, three publishers, a ladder, and a crowd of
//! players. [`plan`] says what goes wrong and when, by a seed alone; [`act`] does it; [`window`] says who may wait meanwhile, by
//! the failure table of the design; [`viewer`] and [`monitor`] look, and [`report`] judges.

pub mod act;
pub mod browser;
pub mod harm;
pub mod ledger;
pub mod monitor;
pub mod plan;
pub mod play;
pub mod report;
pub mod source;
pub mod stage;
pub mod track;
pub mod viewer;
pub mod window;
pub mod witness;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep_until;

use act::Cast;
use browser::Browsed;
use plan::{Plan, WARM_UP};
pub use report::Report;
use stage::Stage;
use viewer::Habit;

use crate::Outcome;

/// However crowded a machine is, bounds grow by no more than this.
const MOST: f64 = 4.0;

/// What to run.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// What the plan is made from.
    pub seed: u64,
    /// How long.
    pub length: Duration,
    /// Players of our own.
    pub players: usize,
    /// Chromium with hls.js beside them.
    pub browser: bool,
}

/// Tasks that end when this is dropped.
#[derive(Default)]
struct Company(Vec<JoinHandle<()>>);

impl Drop for Company {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

/// Runs a seed's plan, and judges it.
///
/// # Errors
///
/// When the world cannot be set up.
pub async fn run(options: Options) -> Outcome<Report> {
    let plan = Plan::of(options.seed, options.length);
    print!("{plan}");
    let stage = Arc::new(Box::pin(Stage::start()).await?);
    let cast = Arc::new(Cast::start(&stage).await?);
    stage.playable().await?;
    stage.ledger.begin();
    println!("the world stands; players come, and the plan begins");
    let memory = Arc::new(Mutex::new(HashMap::new()));
    let company = Company(vec![
        tokio::spawn(monitor::guard(stage.clone(), memory.clone())),
        tokio::spawn(monitor::metronome(stage.clone())),
        tokio::spawn(monitor::audit(stage.clone(), options.seed)),
        tokio::spawn(scale(stage.clone())),
    ]);
    let browsed = go_through(options, &plan, &stage, &cast).await?;
    drop(company);
    for node in &stage.nodes {
        node.read_log(&*node.server().await, &stage.ledger);
    }
    let memory = memory.lock().map(|memory| memory.clone()).unwrap_or_default();
    let report = Report::of(&plan, &stage, memory, browsed).await;
    print!("{report}");
    Ok(report)
}

/// Carries the plan out among players; gives what a browser saw.
async fn go_through(
    options: Options,
    plan: &Plan,
    stage: &Arc<Stage>,
    cast: &Arc<Cast>,
) -> Outcome<Vec<Browsed>> {
    let (over, is_over) = watch::channel(false);
    let (mut viewers, mut steps) = (JoinSet::new(), JoinSet::new());
    for number in 0..options.players {
        viewers.spawn(viewer::view(stage.clone(), Habit::of(number), options.seed, is_over.clone()));
    }
    let browser = options.browser.then(|| tokio::spawn(browser::watch(stage.clone(), options.length)));
    for (number, step) in plan.steps.iter().enumerate() {
        steps.spawn(cast.clone().step(number, *step));
    }
    sleep_until(stage.ledger.moment(options.length)).await;
    while let Some(step) = steps.join_next().await {
        step?;
    }
    over.send_replace(true);
    while let Some(viewer) = viewers.join_next().await {
        viewer?;
    }
    Ok(match browser {
        Some(browser) => browser.await?,
        None => Vec::new(),
    })
}

/// How crowded the machine is, by what players and this program itself see of it before anything goes wrong.
async fn scale(stage: Arc<Stage>) {
    let ledger = &stage.ledger;
    sleep_until(ledger.moment(WARM_UP)).await;
    let longest = ledger.waits().iter().map(|wait| wait.to - wait.from).max().unwrap_or_default();
    let crowd = longest.max(ledger.lateness(Duration::ZERO, WARM_UP));
    let scale = (1.0 + crowd.as_secs_f64()).min(MOST);
    ledger.set_scale(scale);
    println!(
        "{:7.1} s  longest wait with nothing wrong {crowd:.2?}: bounds times {scale:.1}",
        WARM_UP.as_secs_f64()
    );
}
