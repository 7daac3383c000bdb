//! What each stream is doing: the state machine of QOE-25 and the newest figures, from events alone.

mod entry;
mod view;

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use aqueduct_common::StreamName;
use aqueduct_common::event::{Event, PublishEnd, Transcode};
use aqueduct_common::feed::Break;

use crate::series::SeriesView;
use crate::viewers::{Present, Viewers};
use crate::watch::{Gathered, Happening, Turned, Watch};
use entry::Entry;
pub use view::{Advised, ROW, State, StreamRow, StreamView};

/// How long an ended stream stays in the list.
const KEEP_ENDED: Duration = Duration::from_secs(300);
/// A stream that nothing was heard of for so long is forgotten, whatever its state. Longer than the longest grace time,
/// and than [`KEEP_ENDED`].
const KEEP_UNHEARD: Duration = Duration::from_secs(2 * 3_600);
/// No more streams than these are kept: an ended one makes room for a new one, and without any the new one is left out.
const MAX_STREAMS: usize = 10_000;

/// All streams heard of, until they have been over for five minutes.
#[derive(Debug, Default)]
pub struct Streams {
    entries: BTreeMap<StreamName, Entry>,
    /// The time of the last turn, in milliseconds since 1970.
    wall: i64,
}

impl Streams {
    /// Takes in one event.
    pub fn record(&mut self, event: &Event, now: Instant) {
        let wall = self.wall;
        match event {
            // What is over needs no entry, nor does a part.
            Event::Transcode { stream, what: Transcode::Ended }
            | Event::PackagerEnded { stream, .. }
            | Event::StreamExpired { stream }
            | Event::Push { stream, .. }
            | Event::Srt { stream, .. }
            | Event::Part { stream, .. } => {
                if let Some(entry) = self.entries.get_mut(stream) {
                    entry.heard_at = now;
                    entry.hear(event, now, wall);
                }
            }
            Event::PublishStarted { stream, .. }
            | Event::PublishEnded { stream, .. }
            | Event::Ingest { stream, .. }
            | Event::Anomaly { stream, .. }
            | Event::Advice { stream, .. }
            | Event::PackagerLive { stream, .. }
            | Event::Transcode { stream, .. }
            | Event::Astray { stream, .. }
            | Event::Source { stream, .. }
            | Event::Discontinuity { stream, .. } => {
                if let Some(entry) = self.entry(stream, now) {
                    entry.heard_at = now;
                    entry.hear(event, now, wall);
                }
            }
            Event::Edge(_)
            | Event::ConnectionOpened { .. }
            | Event::ConnectionClosed { .. }
            | Event::Refused { .. }
            | Event::Shed { .. }
            | Event::Cluster(_)
            | Event::Relay(_)
            | Event::Pull { .. }
            | Event::Report(_)
            | Event::Throttled { .. } => {}
        }
    }

    /// Drops cured advice, and the streams that have been over or unheard of for long.
    pub fn sweep(&mut self, now: Instant) {
        for entry in self.entries.values_mut() {
            entry.drop_cured(now);
        }
        self.entries.retain(|_, entry| {
            let over = entry.ended_at.is_some_and(|at| now.duration_since(at) >= KEEP_ENDED);
            !over && now.duration_since(entry.heard_at) < KEEP_UNHEARD
        });
    }

    /// Whether a stream is among those kept.
    pub fn knows(&self, stream: &StreamName) -> bool {
        self.entries.contains_key(stream)
    }

    /// Every stream as it is, by name.
    pub fn views(&self) -> Vec<StreamView> {
        self.entries.values().map(Entry::view).collect()
    }

    /// One stream as it is.
    pub fn view(&self, stream: &StreamName) -> Option<StreamView> {
        self.entries.get(stream).map(Entry::view)
    }

    /// Every stream as a list shows it, by name. `alerts` says how many it has.
    pub fn rows(&self, alerts: impl Fn(&str) -> usize) -> Vec<StreamRow> {
        self.entries.values().map(|entry| entry.row(&alerts)).collect()
    }

    /// The last seconds of a stream.
    pub fn series(&self, stream: &StreamName, last: usize, columns: &[&'static str]) -> Option<SeriesView> {
        let watch = &self.entries.get(stream)?.watch;
        Some(watch.series().view(stream.as_str(), last, columns))
    }

    /// The newest second of a stream: its values in the order of the columns.
    pub fn newest(&self, stream: &StreamName) -> Option<(i64, Vec<Option<f32>>)> {
        let (at, row) = self.entries.get(stream)?.watch.series().newest()?;
        Some((at, row.iter().map(|value| crate::series::known(*value)).collect()))
    }

    /// What happened to a stream, newest last.
    pub fn happened(&self, stream: &StreamName) -> Option<Vec<Happening>> {
        Some(self.entries.get(stream)?.watch.happened().cloned().collect())
    }

    /// Streams that are not over, with how they are.
    pub(crate) fn watched(&self) -> impl Iterator<Item = (&StreamView, &Watch)> {
        self.entries.values().map(|entry| (&entry.view, &*entry.watch))
    }

    /// A second is over, at `now` (milliseconds since 1970). `relay` is the mean lag from origin to edge.
    pub(crate) fn turn(
        &mut self,
        viewers: &Viewers,
        present: &HashMap<StreamName, Present>,
        relay: Option<f64>,
        now: i64,
    ) -> Vec<Turned> {
        self.wall = now;
        let turn = |(name, entry): (&StreamName, &mut Entry)| {
            entry.refresh_advice();
            let gathered = Gathered { audience: viewers.audience(name), present: present.get(name), relay };
            entry.watch.turn(&entry.view, &gathered, now)
        };
        self.entries.iter_mut().map(turn).collect()
    }

    /// Viewers of each stream over all nodes.
    pub fn set_viewers(&mut self, counts: &[(StreamName, u32)], twice: &HashMap<StreamName, u32>) {
        let mut sums: HashMap<&StreamName, (u32, u32)> = HashMap::new();
        for (stream, count) in counts {
            let (sum, most) = sums.entry(stream).or_default();
            (*sum, *most) = (sum.saturating_add(*count), (*most).max(*count));
        }
        for (stream, entry) in &mut self.entries {
            let (sum, most) = sums.get(stream).copied().unwrap_or_default();
            let twice = twice.get(stream).copied().unwrap_or_default();
            // No node counts anybody twice by itself.
            entry.view.viewers = sum.saturating_sub(twice).max(most);
        }
    }

    /// The stream's entry, made if there is room.
    fn entry(&mut self, stream: &StreamName, now: Instant) -> Option<&mut Entry> {
        if self.entries.len() >= MAX_STREAMS && !self.entries.contains_key(stream) {
            let ended =
                self.entries.iter().find(|(_, e)| e.ended_at.is_some()).map(|(name, _)| name.clone())?;
            self.entries.remove(&ended);
        }
        Some(self.entries.entry(stream.clone()).or_insert_with(|| Entry::new(stream.clone(), now)))
    }
}

/// The metric label of a session's end.
pub(crate) const fn end_label(reason: PublishEnd) -> &'static str {
    match reason {
        PublishEnd::Clean => "clean",
        PublishEnd::Lost => "lost",
        PublishEnd::Silent => "silent",
        PublishEnd::TakenOver => "taken_over",
        PublishEnd::Shed => "shed",
        PublishEnd::Drained => "drained",
    }
}

/// The metric label of a discontinuity's cause.
pub(crate) const fn break_label(reason: Option<Break>) -> &'static str {
    match reason {
        None => "tracks",
        Some(Break::TimestampJump) => "timestamp_jump",
        Some(Break::Reconnect) => "reconnect",
        Some(Break::Overflow) => "overflow",
        Some(Break::Encoder) => "encoder",
    }
}

#[cfg(test)]
mod tests;
