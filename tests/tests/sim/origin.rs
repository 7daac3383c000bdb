//! The publisher, the packager, and what the origin serves and feeds others from.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aqueduct_common::feed::Break;
use aqueduct_common::object::{ObjectKind, Publish as _};
use aqueduct_common::{Feed, Sample, StreamName, TrackSet, Update, WallTime};
use aqueduct_edge::Store;
use aqueduct_edge::relay::window::Window;
use aqueduct_packager::checkpoint::Origin as Begin;
use aqueduct_packager::stream::{Output, Stream};
use aqueduct_packager::{Checkpoints, Config, Elsewhere};

use crate::plan::{Micros, Plan, SECOND, Sabotage, What};
use crate::support::{Source, aac, clock, tracks, video};

/// What the origin's disk would hold: the newest checkpoint.
#[derive(Debug, Default)]
struct Disk {
    text: Mutex<String>,
    /// Since it was written.
    ago: Mutex<Duration>,
}

impl Elsewhere for Disk {
    fn tell(&self, _: &StreamName, checkpoint: &str) {
        checkpoint.clone_into(&mut self.text.lock().unwrap());
    }

    fn heard(&self, _: &StreamName) -> Option<(String, Duration)> {
        let text = self.text.lock().unwrap().clone();
        (!text.is_empty()).then(|| (text, *self.ago.lock().unwrap()))
    }
}

/// The origin, as long as it runs.
pub struct Origin {
    name: StreamName,
    packaging: aqueduct_packager::Plan,
    set: TrackSet,
    sources: Vec<Source>,
    stream: Stream,
    disk: Arc<Disk>,
    checkpoints: Checkpoints,
    kept_at: Micros,
    pub window: Window,
    pub store: Store,
    /// Counts its lives; edges begin anew with each.
    pub life: u64,
    is_up: bool,
    is_published: bool,
    parts: u64,
    instant: Instant,
}

impl Origin {
    pub fn new(plan: &Plan) -> Self {
        let set = tracks(&[video(plan.rate, 0), aac(48_000, 1_024)]);
        let config = Config { part: plan.part, ..Config::default() };
        let packaging: aqueduct_packager::Plan = config.try_into().unwrap();
        let sources = vec![Source::new(&set.tracks[0], 10.0, plan.gop), Source::new(&set.tracks[1], 10.0, 1)];
        let name: StreamName = "live/show".parse().unwrap();
        let disk = Arc::new(Disk::default());
        let begin = Begin { fresh: 1_763_634_000, resumed: None };
        let mut origin = Self {
            stream: Stream::new(name.clone(), packaging.clone(), begin),
            checkpoints: Checkpoints::shared(None, disk.clone()),
            name,
            packaging,
            set,
            sources,
            disk,
            kept_at: 0,
            window: Window::new(1),
            store: Store::new(),
            life: 1,
            is_up: true,
            is_published: true,
            parts: 0,
            instant: Instant::now(),
        };
        origin.announce(0);
        origin
    }

    fn announce(&mut self, now: Micros) {
        self.push(Feed::Tracks(self.set.clone().into()), now);
        self.push(Feed::Clock(clock()), now);
    }

    /// Lets time pass: what was published until now comes.
    pub fn turn(&mut self, plan: &Plan, now: Micros) {
        self.live_and_die(plan, now);
        if !self.is_up {
            return;
        }
        let publishes = !plan.is(What::Publisher, now);
        if publishes && !self.is_published {
            self.return_at(now);
            self.push(Feed::Discontinuity(Break::Reconnect), now);
        }
        self.is_published = publishes;
        if publishes
            && !(plan.sabotage == Some(Sabotage::FreezeWithoutFault) && (8..11).contains(&(now / SECOND)))
        {
            self.feed(plan, now);
        }
        if now.is_multiple_of(SECOND) {
            let seconds = now / SECOND;
            self.store.sweep(self.instant + Duration::from_secs(seconds), seconds);
        }
    }

    fn live_and_die(&mut self, plan: &Plan, now: Micros) {
        let dead = plan.is(What::Restart, now);
        if dead && self.is_up {
            self.is_up = false;
            (self.store, self.window) = (Store::new(), Window::new(self.life + 1));
        } else if !dead && !self.is_up {
            self.is_up = true;
            self.life += 1;
            *self.disk.ago.lock().unwrap() = Duration::from_micros(now - self.kept_at);
            let begin = self.checkpoints.origin(&self.name, wall(now), Duration::from_secs(30));
            let begin = Begin { fresh: 1_763_634_000 + self.life, ..begin };
            self.stream = Stream::new(self.name.clone(), self.packaging.clone(), begin);
            self.return_at(now);
            self.announce(now);
        }
    }

    /// The publisher goes on with what it shows at this moment, from a keyframe on.
    fn return_at(&mut self, now: Micros) {
        for source in &mut self.sources {
            let seconds = 10.0 + now as f64 / SECOND as f64;
            let gop = source.gop;
            *source = Source::new(&source.track.clone(), seconds, gop);
        }
    }

    fn feed(&mut self, plan: &Plan, now: Micros) {
        loop {
            let due = |source: &Source| ((source.seconds() - 10.0) * SECOND as f64) as i64;
            let Some(source) = self.sources.iter_mut().min_by_key(|source| due(source)) else { return };
            if due(source) > now as i64 {
                return;
            }
            let sample = Sample { received: wall(now), ..source.next() };
            self.stream.push(Feed::Sample(sample), wall(now));
            self.carry_out(plan.sabotage, now);
        }
    }

    fn push(&mut self, message: Feed, now: Micros) {
        self.stream.push(message, wall(now));
        self.carry_out(None, now);
    }

    fn carry_out(&mut self, sabotage: Option<Sabotage>, now: Micros) {
        let outputs: Vec<Output> = self.stream.drain().collect();
        for output in outputs {
            match output {
                Output::Update(update) => {
                    if let Some(update) = self.sabotaged(sabotage, update) {
                        self.window.apply(update.clone(), wall(now).micros);
                        self.store.publish(&self.name, update);
                    }
                }
                Output::Checkpoint(checkpoint) => {
                    self.checkpoints.keep(&self.name, &checkpoint).unwrap();
                    self.kept_at = now;
                }
                Output::Ended | Output::Part { .. } | Output::Event(_) => {}
            }
        }
    }

    fn sabotaged(&mut self, sabotage: Option<Sabotage>, update: Update) -> Option<Update> {
        let Update::Publish(mut object) = update else { return Some(update) };
        self.parts += u64::from(object.kind == ObjectKind::Part);
        match sabotage {
            Some(Sabotage::LosePart) if object.kind == ObjectKind::Part && self.parts == 60 => return None,
            Some(Sabotage::RepeatName) if object.kind == ObjectKind::Playlist && self.parts > 60 => {
                let text = String::from_utf8(object.body.concat()).unwrap();
                let mut uris = text.lines().filter_map(|line| line.split("URI=\"").nth(1)?.split('"').next());
                if let (Some(first), Some(second)) = (uris.by_ref().nth(1), uris.next())
                    && text.contains("#EXT-X-PART:")
                {
                    let turned = text.replace(first, "\0").replace(second, first).replace('\0', second);
                    object.body = vec![turned.into()];
                }
            }
            _ => {}
        }
        Some(Update::Publish(object))
    }
}

/// The wall clock at a moment of the run.
pub fn wall(now: Micros) -> WallTime {
    clock().wall.offset(now as i64)
}
