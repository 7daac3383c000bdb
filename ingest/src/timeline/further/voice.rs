//! A further audio track: counted like the first one, on the same epoch (TL-4, TL-15).

use std::collections::VecDeque;

use aqueduct_common::codec::CodecConfig;
use aqueduct_common::feed::Absence;
use aqueduct_common::{Feed, Track, TrackId};

use crate::demux::Unfit;
use crate::timeline::flicks::SECOND;
use crate::timeline::pictures::Placing;
use crate::timeline::sound::Sound;
use crate::timeline::source::Placed;

/// Frames that are held before the tracks are announced, at most.
const HELD_MAX: usize = 1_024;
/// Lagging so far behind the rest, in flicks, the track is dead.
const DEAD_AFTER: i64 = 2 * SECOND;

/// A further audio track.
#[derive(Debug)]
pub(super) struct Voice {
    id: TrackId,
    config: Option<CodecConfig>,
    held: VecDeque<Placed>,
    /// What is announced.
    sound: Option<Sound>,
    /// It is announced, and its samples do not come.
    lost: bool,
    unfit: Option<Unfit>,
    notice: Option<Unfit>,
}

impl Voice {
    pub(super) const fn new(id: TrackId) -> Self {
        Self { id, config: None, held: VecDeque::new(), sound: None, lost: false, unfit: None, notice: None }
    }

    /// Another publisher begins. What was announced stays so.
    pub(super) fn begin(&mut self) {
        self.config = None;
        self.held.clear();
    }

    pub(super) fn config(&mut self, config: CodecConfig) {
        if self.config.as_ref() != Some(&config) {
            self.held.clear();
            self.config = Some(config);
        }
    }

    /// Goes on at `time` flicks or later.
    pub(super) fn restart(&mut self, time: i64) {
        if let Some(sound) = &mut self.sound {
            sound.restart(time);
        }
    }

    /// Holds a frame until the tracks are announced.
    pub(super) fn hold(&mut self, placed: Placed) {
        self.held.push_back(placed);
        if self.held.len() > HELD_MAX {
            self.held.pop_front();
        }
    }

    /// Decides whether it is announced: something came of it. Its samples begin at `begins` flicks.
    pub(super) fn decide(&mut self, begins: i64) {
        (self.lost, self.unfit) = (false, None);
        let begins = self.sound.as_ref().map_or(begins, |before| begins.max(before.end_time()));
        let first = self.held.front().map(|placed| placed.frame.samples);
        self.sound = self.config.clone().zip(first).map(|(config, samples)| {
            let mut sound = Sound::new(config, samples).on_track(self.id);
            sound.restart(begins);
            sound
        });
    }

    pub(super) fn track(&self) -> Option<Track> {
        let sound = self.sound.as_ref().filter(|_| self.unfit.is_none())?;
        Some(Track {
            id: self.id,
            codec: sound.config().clone(),
            timescale: sound.timescale(),
            grid: sound.grid(),
            reorder_delay: 0,
            language: "und".to_owned(),
            bandwidth: None,
        })
    }

    /// It is announced, and its samples do not come.
    pub(super) const fn is_lost(&self) -> bool {
        self.lost
    }

    /// Why it is not used, once.
    pub(super) const fn take_notice(&mut self) -> Option<Unfit> {
        self.notice.take()
    }

    /// Frames that were held, with their times on the source's axis.
    pub(super) fn take_held(&mut self) -> VecDeque<Placed> {
        std::mem::take(&mut self.held)
    }

    /// Places a frame whose time is `time` flicks. `pictures` is the time of the newest video frame.
    pub(super) fn place(
        &mut self,
        placed: &Placed,
        time: i64,
        pictures: Option<i64>,
        out: &mut VecDeque<Feed>,
    ) {
        if self.unfit.is_some() {
            // As long as it comes, the streamer should hear of it.
            self.notice = self.unfit;
            return;
        }
        let Some(sound) = &mut self.sound else {
            self.unfit = Some(Unfit::Late);
            return;
        };
        if self.config.as_ref() != Some(sound.config()) {
            self.unfit = Some(Unfit::Changed);
            out.push_back(Feed::Lost(self.id, Absence::Shed));
            return;
        }
        if self.lost {
            sound.restart(time);
            self.lost = false;
        }
        if sound.place(placed, time, pictures) == Placing::Break {
            // Too much is missing to be filled: a hole, and the count begins anew.
            out.push_back(Feed::Lost(self.id, Absence::Failed));
            sound.restart(time);
            sound.place(placed, time, pictures);
        }
        out.extend(sound.out.drain(..).map(Feed::Sample));
    }

    /// A track that lags far behind `time` flicks is not waited for.
    pub(super) fn watch(&mut self, time: i64, out: &mut VecDeque<Feed>) {
        let Some(sound) = self.sound.as_ref().filter(|_| !self.lost && self.unfit.is_none()) else { return };
        if time - sound.end_time() > DEAD_AFTER {
            (self.lost, self.notice) = (true, Some(Unfit::Silent));
            out.push_back(Feed::Lost(self.id, Absence::Shed));
        }
    }
}
