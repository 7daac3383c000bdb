//! Frames of a live publisher become samples.

use aqueduct_common::codec::CodecConfig;
use aqueduct_common::event::Anomaly;
use aqueduct_common::feed::Break;
use aqueduct_common::{Feed, TrackKind};

use super::pictures::{Pictures, Placing};
use super::probe::Probe;
use super::sound::Sound;
use super::source::{Arrival, Placed};
use super::{Newest, Phase, Timeline, is_further};
use crate::demux::CodedFrame;

impl Timeline {
    /// Takes a repaired frame.
    pub(super) fn place(&mut self, placed: &Placed) {
        if placed.breaks {
            self.await_sync(Break::TimestampJump);
        }
        match placed.frame.kind {
            _ if is_further(placed.frame.track) => self.place_further_sound(placed),
            TrackKind::Video => self.place_video(placed),
            TrackKind::Audio => self.place_audio(placed),
        }
        self.drain();
    }

    fn await_sync(&mut self, reason: Break) {
        if let Some(pictures) = &mut self.pictures {
            pictures.flush();
        }
        self.awaiting.get_or_insert(reason);
    }

    fn place_video(&mut self, placed: &Placed) {
        let config = &self.configs[TrackKind::Video as usize];
        let changed = self.announced(TrackKind::Video) != config.as_ref();
        if self.announced(TrackKind::Video).is_none() {
            return if placed.frame.sync {
                self.probe_again(placed)
            };
        }
        let mut time = placed.time + self.offset;
        let retrack = changed || self.joining.is_some();
        if placed.frame.sync && (self.awaiting.is_some() || retrack || self.rejoining) {
            time = self.resume(placed, time, retrack);
        }
        if self.awaiting.is_some() || (changed && !placed.frame.sync) {
            return;
        }
        if self.try_picture(placed, time) == Placing::Break {
            self.awaiting = Some(Break::TimestampJump);
            time = self.resume(placed, time, false);
            self.try_picture(placed, time);
        }
        self.newest = Some(Newest { time, at: placed.arrival.at });
        let Some(pictures) = &self.pictures else { return };
        // A clamped offset says nothing about when the picture was captured (RTMP-40).
        if !Pictures::clamps(placed.frame.cts) {
            self.clock.note(time + pictures.offset(placed.frame.cts), placed.arrival.captured());
        }
        let end = pictures.end_time();
        if self.announced(TrackKind::Audio).is_some()
            && let Some(sound) = &mut self.sound
        {
            sound.keep_up(end, placed.arrival.wall);
        }
    }

    fn try_picture(&mut self, placed: &Placed, time: i64) -> Placing {
        let Some(pictures) = &mut self.pictures else { return Placing::Done };
        let placing = pictures.place(placed, time);
        if placing == Placing::Done {
            self.further.note_placed(&placed.frame);
        }
        placing
    }

    /// Takes a frame of a further track.
    pub(super) fn push_further(&mut self, frame: CodedFrame, arrival: Arrival) {
        match (&self.phase, frame.kind) {
            (Phase::Away, _) => {}
            (_, TrackKind::Audio) => {
                self.source.push_further(frame, arrival);
                self.place_beside();
            }
            (Phase::Probing(_), TrackKind::Video) => self.further.push_picture(frame, arrival.wall, None),
            (Phase::Live, TrackKind::Video) => {
                let tracks = self.tracks.clone();
                let beside = tracks.as_ref().and_then(|tracks| tracks.first(TrackKind::Video));
                self.further.push_picture(frame, arrival.wall, beside);
                self.drain_further();
            }
        }
    }

    /// Places the sound of further tracks of which it is known where it lies.
    pub(super) fn place_beside(&mut self) {
        while let Some(placed) = self.source.poll_further() {
            match self.phase {
                Phase::Away => {}
                Phase::Probing(_) => self.further.hold_sound(placed),
                Phase::Live => self.place(&placed),
            }
        }
    }

    fn place_further_sound(&mut self, placed: &Placed) {
        let leads = self.reference() == TrackKind::Audio;
        if self.awaiting.is_none() {
            let pictures = self.newest.filter(|_| !leads).map(|newest| newest.time);
            self.further.place_sound(placed, placed.time + self.offset, pictures);
        }
    }

    /// Moves what further tracks made into the output.
    pub(super) fn drain_further(&mut self) {
        if self.further.is_empty() {
            return;
        }
        let tracks = self.tracks.clone();
        let time = self.end_time();
        if let Some(beside) = tracks.as_ref().and_then(|tracks| tracks.first(TrackKind::Video)) {
            self.further.settle(beside, time);
        }
        self.out.append(&mut self.further.out);
    }

    fn place_audio(&mut self, placed: &Placed) {
        let config = &self.configs[TrackKind::Audio as usize];
        let changed = self.announced(TrackKind::Audio) != config.as_ref();
        let leads = self.reference() == TrackKind::Audio;
        if changed {
            self.joining = Some(placed.frame.samples);
        }
        if !leads && (changed || self.awaiting.is_some() || self.rejoining) {
            return;
        }
        let mut time = placed.time + self.offset;
        if self.awaiting.is_some() || changed {
            time = self.resume(placed, time, changed);
        }
        let pictures = self.newest.filter(|_| !leads).map(|newest| newest.time);
        if self.try_sound(placed, time, pictures) == Placing::Break {
            self.counts.add(Anomaly::Gap);
            if !leads {
                self.rejoining = true;
                return;
            }
            self.awaiting = Some(Break::TimestampJump);
            time = self.resume(placed, time, false);
            self.try_sound(placed, time, pictures);
        }
        if leads {
            self.newest = Some(Newest { time, at: placed.arrival.at });
            self.clock.note(time, placed.arrival.captured());
        }
    }

    fn try_sound(&mut self, placed: &Placed, time: i64, pictures: Option<i64>) -> Placing {
        self.sound.as_mut().map_or(Placing::Done, |sound| sound.place(placed, time, pictures))
    }

    /// Goes on with the reference track's sync sample `placed`, after a break or with new tracks. Returns its output
    /// time, which is moved where it would overlap what is out already.
    fn resume(&mut self, placed: &Placed, mut time: i64, retrack: bool) -> i64 {
        let waited = self.awaiting.take();
        if waited.is_none()
            && let Some(pictures) = &mut self.pictures
        {
            pictures.settle(time);
        }
        let rejoins = std::mem::take(&mut self.rejoining);
        let reason = waited.or(rejoins.then_some(Break::TimestampJump));
        if reason.is_some() {
            let end = self.end_time();
            if time < end {
                self.offset += end - time;
                time = end;
            }
        }
        // What was before goes before the mark.
        self.drain();
        let begins = time + self.delay_of(placed.frame.cts);
        if let Some(samples) = self.joining.take() {
            self.join_sound(samples, begins.max(self.end_time()));
        }
        if reason.is_some() {
            if let Some(pictures) = &mut self.pictures {
                pictures.restart(time);
            }
            if let Some(sound) = &mut self.sound {
                sound.restart(begins);
            }
            self.further.restart(begins);
        }
        if retrack {
            self.announce(placed);
        } else if let Some(reason) = reason {
            self.out.push_back(Feed::Discontinuity(reason));
        }
        self.clock.resume(begins, placed.arrival.captured());
        time
    }

    /// Sound of a new configuration takes the place of what there was.
    fn join_sound(&mut self, samples: u32, begins: i64) {
        let Some(config) = self.configs[TrackKind::Audio as usize].clone() else { return };
        let mut sound = Sound::new(config, samples);
        sound.restart(begins);
        if let Some(before) = self.sound.replace(sound) {
            self.counts = merged(self.counts, before);
        }
    }

    /// Pictures of a publisher that had none: what grid they are on has to be found first.
    fn probe_again(&mut self, placed: &Placed) {
        let mut probe = Probe::default();
        probe.push(placed.clone());
        self.phase = Phase::Probing(probe);
    }

    /// The announced tracks, made from what there is now.
    pub(super) fn current_configs(&self) -> [Option<CodecConfig>; 2] {
        let video = self.announced(TrackKind::Video).and(self.configs[TrackKind::Video as usize].clone());
        let audio = self.sound.as_ref().map(|sound| sound.config().clone());
        [video, audio]
    }

    /// Sends the tracks that follow.
    fn announce(&mut self, placed: &Placed) {
        let cts = if placed.frame.kind == TrackKind::Video { placed.frame.cts } else { 0 };
        let tracks = self.track_set(self.current_configs(), cts);
        self.tracks = Some(tracks.clone());
        self.out.push_back(Feed::Tracks(tracks));
        self.out.extend(self.further.lost());
    }

    /// How long after its decode time a frame is shown, in flicks; zero where its offset is negative.
    pub(super) fn delay_of(&self, cts: i32) -> i64 {
        self.pictures.as_ref().map_or(0, |pictures| pictures.offset(cts)).max(0)
    }

    /// The video's presentation delay in ticks.
    pub(super) fn delay(&self, cts: i32) -> i64 {
        self.pictures.as_ref().map_or(0, |pictures: &Pictures| pictures.reorder_delay(cts))
    }
}

fn merged(mut counts: super::Counts, mut sound: Sound) -> super::Counts {
    for (kind, count) in sound.counts.take() {
        counts.add_many(kind, count);
    }
    counts
}
