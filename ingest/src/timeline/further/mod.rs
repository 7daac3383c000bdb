//! Further tracks of a multitrack publisher, beside the first of each kind (Enhanced RTMP v2; RTMP-56, RTMP-62).
//!
//! The first tracks decide everything: epoch, repairs, grid, breaks. Further ones follow or are left out; nothing waits
//! for them, and nothing that they do touches the first ones. Which there are is decided once, with the announcement.

mod fit;
mod rung;
mod voice;

use std::collections::{BTreeMap, VecDeque};

use aqueduct_common::codec::CodecConfig;
use aqueduct_common::feed::Absence;
use aqueduct_common::{Feed, Sample, Track, TrackId, TrackKind, WallTime};
use bytes::Bytes;

use super::source::Placed;
use crate::demux::{CodedFrame, Notice, Unfit, wire_number};
use fit::Seen;
use rung::{Anchor, Rung};
use voice::Voice;

/// The first video track's frames that are remembered: more than a second of the fastest.
const ANCHORS: usize = 256;

/// All further tracks of a stream.
#[derive(Debug, Default)]
pub(super) struct Further {
    rungs: BTreeMap<TrackId, Rung>,
    voices: BTreeMap<TrackId, Voice>,
    languages: BTreeMap<TrackId, String>,
    /// Frames of the first video track whose samples have not come out yet.
    placing: VecDeque<Seen>,
    anchors: VecDeque<Anchor>,
    pub(super) out: VecDeque<Feed>,
}

impl Further {
    /// Another publisher begins.
    pub(super) fn begin(&mut self) {
        self.rungs.values_mut().for_each(Rung::begin);
        self.voices.values_mut().for_each(Voice::begin);
        self.placing.clear();
        self.anchors.clear();
    }

    /// There are none.
    pub(super) fn is_empty(&self) -> bool {
        self.rungs.is_empty() && self.voices.is_empty()
    }

    pub(super) fn config(&mut self, track: TrackId, config: CodecConfig) {
        match config.kind() {
            TrackKind::Video => {
                self.rungs.entry(track).or_insert_with(|| Rung::new(track)).config(config);
            }
            TrackKind::Audio => {
                self.voices.entry(track).or_insert_with(|| Voice::new(track)).config(config);
            }
        }
    }

    pub(super) fn set_language(&mut self, track: TrackId, language: String) {
        self.languages.insert(track, language);
    }

    /// The language of a track, where the publisher said it.
    pub(super) fn language(&self, track: TrackId) -> String {
        self.languages.get(&track).map_or("und", String::as_str).to_owned()
    }

    /// Takes a picture.
    pub(super) fn push_picture(&mut self, frame: CodedFrame, received: WallTime, beside: Option<&Track>) {
        if let Some(rung) = self.rungs.get_mut(&frame.track) {
            rung.push(frame, received, beside.is_some());
            if let Some(beside) = beside {
                rung.settle(&self.anchors, beside, &mut self.out);
            }
        }
    }

    /// Takes sound before the tracks are announced.
    pub(super) fn hold_sound(&mut self, placed: Placed) {
        if let Some(voice) = self.voices.get_mut(&placed.frame.track) {
            voice.hold(placed);
        }
    }

    /// Takes sound whose time is `time` flicks.
    pub(super) fn place_sound(&mut self, placed: &Placed, time: i64, pictures: Option<i64>) {
        if let Some(voice) = self.voices.get_mut(&placed.frame.track) {
            voice.place(placed, time, pictures, &mut self.out);
        }
    }

    /// Decides which tracks are announced, by the first video track's frames that were held. `delay` is its presentation
    /// delay in ticks; sound begins at `begins` flicks. Gives the sound that was held.
    pub(super) fn decide<'a>(
        &mut self,
        pictures: impl Iterator<Item = &'a Placed>,
        delay: i64,
        begins: i64,
    ) -> Vec<Placed> {
        let first: Vec<Seen> = pictures.map(|placed| seen(&placed.frame)).collect();
        self.rungs.values_mut().for_each(|rung| rung.decide(&first, delay));
        let mut held = Vec::new();
        for voice in self.voices.values_mut() {
            voice.decide(begins);
            held.extend(voice.take_held());
        }
        held
    }

    /// The sound that was held, where nothing has to be decided anew.
    pub(super) fn take_held(&mut self) -> Vec<Placed> {
        self.voices.values_mut().flat_map(Voice::take_held).collect()
    }

    /// Samples that follow are not contiguous with those before. Sound goes on at `begins` flicks.
    pub(super) fn restart(&mut self, begins: i64) {
        self.rungs.values_mut().for_each(Rung::restart);
        self.voices.values_mut().for_each(|voice| voice.restart(begins));
        self.anchors.clear();
    }

    /// The announced ones, beside the first video track.
    pub(super) fn tracks(&self, beside: Option<&Track>) -> Vec<Track> {
        let rungs = self.rungs.values().filter_map(|rung| rung.track(beside?));
        let tracks = rungs.chain(self.voices.values().filter_map(Voice::track));
        tracks.map(|track| Track { language: self.language(track.id), ..track }).collect()
    }

    /// A frame of the first video track was placed; its sample may come out later.
    pub(super) fn note_placed(&mut self, frame: &CodedFrame) {
        self.placing.push_back(seen(frame));
    }

    /// A sample of the first video track came out: the next one of those placed.
    pub(super) fn note_sample(&mut self, sample: &Sample) {
        let Some(seen) = self.placing.pop_front().filter(|_| !self.rungs.is_empty()) else { return };
        self.anchors.push_back(Anchor { seen, sample: Sample { payload: Bytes::new(), ..sample.clone() } });
        if self.anchors.len() > ANCHORS {
            self.anchors.pop_front();
        }
    }

    /// Gives what has found its place by now, and drops what does not come. `time` is where the pictures end, in flicks.
    pub(super) fn settle(&mut self, beside: &Track, time: i64) {
        for rung in self.rungs.values_mut() {
            rung.settle(&self.anchors, beside, &mut self.out);
        }
        for voice in self.voices.values_mut() {
            voice.watch(time, &mut self.out);
        }
    }

    /// Announced ones whose samples do not come: to be said again after each announcement.
    pub(super) fn lost(&self) -> impl Iterator<Item = Feed> {
        let rungs = self.rungs.iter().filter(|(_, rung)| rung.is_lost()).map(|(id, _)| *id);
        let voices = self.voices.iter().filter(|(_, voice)| voice.is_lost()).map(|(id, _)| *id);
        rungs.chain(voices).map(|id| Feed::Lost(id, Absence::Shed))
    }

    /// What the streamer should hear of one of them.
    pub(super) fn take_notice(&mut self) -> Option<Notice> {
        let rungs = self.rungs.iter_mut().map(|(id, rung)| (*id, rung.take_notice()));
        let voices = self.voices.iter_mut().map(|(id, voice)| (*id, voice.take_notice()));
        let (id, why): (TrackId, Unfit) = rungs.chain(voices).find_map(|(id, why)| Some((id, why?)))?;
        let (kind, number) = wire_number(id);
        Some(Notice::UnusedTrack(kind, number, why))
    }
}

fn seen(frame: &CodedFrame) -> Seen {
    Seen { stamp: frame.timestamp, sync: frame.sync, cts: frame.cts }
}
