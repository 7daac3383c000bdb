//! Packets of a session's tracks in, what a lease takes out. Both roles end here.
//!
//! ```text
//! Packet ─▶ Reorder ─▶ Clocks (unroll) ─▶ Depacket ─▶ Clocks (place) ─▶ Order ─▶ demux ─▶ Taken
//! ```

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use aqueduct_common::event::Anomaly;
use aqueduct_common::{TrackId, TrackKind, WallTime};
use bytes::Bytes;
use retina::rtcp::PacketRef;

use super::clock::{Clocks, Report};
use super::depacket::{Coding, Depacket, Frame};
use super::order::Order;
use super::reorder::{Packet, Reorder};
use super::sdp::Medium;
use crate::demux::{Demuxed, Notice, SoundTrack, VideoTrack};
use crate::flv::audio::{AudioCodec, AudioPacket};
use crate::flv::video::{VideoCodec, VideoPacket};
use crate::timeline::Counts;

/// How long the first frames wait for both tracks' sender reports.
const SETTLE: Duration = Duration::from_millis(1_000);
/// Frames that wait at most, and their bytes.
const WAITING_MAX: usize = 512;
const WAITING_BYTES_MAX: usize = 16 << 20;
/// The axis begins here, so that no stamp is negative and none is near a wrap.
const BEGIN: i64 = 60_000_000_000;
const MILLI: i64 = 1_000_000;
/// A sender that was silent for so long may be replaced by another.
const REPLACED_AFTER: Duration = Duration::from_secs(2);
/// RTCP's packet type of a goodbye.
const BYE: u8 = 203;

/// What a lease takes, and when it came.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Taken {
    /// When the packet that completed it came.
    pub at: Instant,
    /// The same in UTC.
    pub wall: WallTime,
    /// A configuration or a frame.
    pub item: Demuxed,
}

/// A track that is taken.
#[derive(Debug)]
struct Track {
    /// Its position in the session description.
    medium: usize,
    payload_type: u8,
    reorder: Reorder,
    depacket: Depacket,
    /// The sender, and when it last sent.
    source: Option<(u32, Instant)>,
}

/// A frame that waits until it is known how the tracks lie to each other.
#[derive(Debug)]
struct Waiting {
    track: usize,
    frame: Frame,
    at: Instant,
    wall: WallTime,
}

/// The tracks of one session.
#[derive(Debug)]
pub struct Assembly {
    tracks: Vec<Track>,
    clocks: Clocks,
    video: VideoTrack,
    sound: SoundTrack,
    order: Order,
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
    /// Frames wait until then.
    settles: Option<Instant>,
    has_settled: bool,
    notices: Vec<Notice>,
    counts: Counts,
    demuxed: VecDeque<Demuxed>,
    frames: Vec<Frame>,
    out: VecDeque<Taken>,
}

/// No medium of a session can be taken; what they are coded with.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("none of its tracks can be taken ({})", .0.join(", "))]
pub struct NothingUsable(pub Vec<&'static str>);

impl Assembly {
    /// Takes the first pictures and the first sound of a description that can be taken (RTSP-11). What needs a
    /// transcode is left out unless `transcodes`. `may_overtake`: packets come over UDP.
    ///
    /// # Errors
    /// When nothing can be taken.
    pub fn new(
        media: &[Option<Medium>],
        transcodes: bool,
        may_overtake: bool,
    ) -> Result<Self, NothingUsable> {
        let (mut tracks, mut notices, mut names) = (Vec::new(), Vec::new(), Vec::new());
        let mut rates = Vec::new();
        for kind in [TrackKind::Video, TrackKind::Audio] {
            let of_kind = |medium: &&Medium| medium.kind == Some(kind) && !medium.is_backchannel;
            let mut left_out = None;
            for (index, medium) in media.iter().enumerate() {
                let Some(medium) = medium.as_ref().filter(of_kind) else { continue };
                match Depacket::new(medium) {
                    Ok(depacket) if !transcodes && depacket.is_foreign() => {
                        left_out = left_out.or(Some(depacket.name()));
                    }
                    Ok(depacket) => {
                        let (payload_type, reorder) = (medium.payload_type, Reorder::new(may_overtake));
                        tracks.push(Track { medium: index, payload_type, reorder, depacket, source: None });
                        rates.push(medium.rate);
                        left_out = None;
                        break;
                    }
                    Err(name) => left_out = left_out.or(Some(name)),
                }
            }
            notices.extend(left_out.map(Notice::NeedsTranscode));
            names.extend(left_out);
        }
        if tracks.is_empty() {
            return Err(NothingUsable(names));
        }
        let follower = tracks.iter().position(|track| matches!(track.depacket.coding(), Coding::Audio(_)));
        Ok(Self {
            clocks: Clocks::new(&rates, follower),
            tracks,
            video: VideoTrack::new(TrackId::VIDEO),
            sound: SoundTrack::new(TrackId::AUDIO),
            order: Order::default(),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            settles: None,
            has_settled: false,
            notices,
            counts: Counts::default(),
            demuxed: VecDeque::new(),
            frames: Vec::new(),
            out: VecDeque::new(),
        })
    }

    /// Positions in the session description of the tracks that are taken.
    pub fn media(&self) -> impl Iterator<Item = usize> {
        self.tracks.iter().map(|track| track.medium)
    }

    /// Takes an RTP packet of the medium at a position of the description.
    pub fn rtp(&mut self, medium: usize, packet: Packet) {
        let Some(index) = self.tracks.iter().position(|track| track.medium == medium) else { return };
        let at = packet.at;
        let Some(track) = self.tracks.get_mut(index) else { return };
        if packet.payload_type != track.payload_type || !track.is_of(&packet) {
            return self.counts.add(Anomaly::StrayPacket);
        }
        if track.source.is_none_or(|(source, _)| source != packet.source) {
            if track.source.is_some() {
                track.reorder.reset();
                self.clocks.restart(index);
            }
            self.counts.add_many(Anomaly::Jump, u32::from(track.source.is_some()));
        }
        track.source = Some((packet.source, at));
        track.reorder.push(packet);
        self.drain(index, at);
    }

    /// Takes an RTCP packet of the medium at a position of the description, which came at `now`.
    pub fn rtcp(&mut self, medium: usize, raw: &[u8], now: Instant) {
        let Some(index) = self.tracks.iter().position(|track| track.medium == medium) else { return };
        let mut rest = raw;
        while let Ok((packet, behind)) = PacketRef::parse(rest) {
            rest = behind;
            if packet.payload_type() == BYE {
                self.bye(index, packet.raw());
            }
            let Ok(Some(report)) = packet.as_sender_report() else { continue };
            let report =
                Report { source: report.ssrc(), ntp: report.ntp_timestamp().0, rtp: report.rtp_timestamp() };
            let source = self.tracks.get(index).and_then(|track| track.source);
            if source.is_none_or(|(source, _)| source == report.source) {
                self.clocks.report(index, report, now);
            } else {
                self.counts.add(Anomaly::ReportRefused);
            }
        }
        self.settle(now);
    }

    /// A goodbye: whoever sends next is another sender (RTSP-36).
    fn bye(&mut self, index: usize, raw: &[u8]) {
        let said = raw.get(4..8).and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes);
        if let Some(track) = self.tracks.get_mut(index)
            && track.source.is_some_and(|(source, _)| Some(source) == said)
        {
            track.source = None;
            track.reorder.reset();
            self.clocks.restart(index);
        }
    }

    /// Lets go of what waited long enough at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        for index in 0..self.tracks.len() {
            self.drain(index, now);
        }
        self.settle(now);
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let held = self.tracks.iter().filter_map(|track| track.reorder.wake());
        held.chain(self.settles.filter(|_| !self.waiting.is_empty())).min()
    }

    /// What a lease takes next.
    pub fn poll(&mut self) -> Option<Taken> {
        self.out.pop_front()
    }

    /// What the streamer should hear, all the time.
    pub fn notices(&self) -> &[Notice] {
        &self.notices
    }

    /// The newest picture was none that decoding can start with.
    pub const fn awaits_key(&self) -> bool {
        self.video.awaits_key()
    }

    /// How long after their capture frames come, where the sender's wall clock is believed.
    pub fn delay(&self, now: Instant) -> Option<Duration> {
        self.clocks.delay(now)
    }

    /// What was repaired or left out since this was last asked.
    pub fn take_counts(&mut self) -> impl Iterator<Item = (Anomaly, u32)> + use<> {
        for track in &mut self.tracks {
            let tally = track.reorder.take_tally();
            self.counts.add_many(Anomaly::PacketLost, tally.lost);
            self.counts.add_many(Anomaly::PacketReordered, tally.reordered);
            self.counts.add_many(Anomaly::PacketLate, tally.late);
        }
        let reports = self.clocks.take_reports();
        self.counts.add_many(Anomaly::ReportRefused, reports.refused);
        self.counts.take()
    }

    fn drain(&mut self, index: usize, now: Instant) {
        loop {
            let Some(track) = self.tracks.get_mut(index) else { return };
            let Some((packet, lost)) = track.reorder.poll(now) else { return };
            let time = self.clocks.unroll(index, packet.timestamp, packet.at);
            self.clocks.note_arrival(index, time, packet.at, packet.wall);
            let mut frames = std::mem::take(&mut self.frames);
            let taken = track.depacket.push(&packet, time, lost, &mut frames);
            self.counts.add_many(Anomaly::BadUnit, u32::from(taken.is_err()));
            let (at, wall) = (packet.at, packet.wall);
            for frame in frames.drain(..) {
                self.wait(Waiting { track: index, frame, at, wall });
            }
            self.frames = frames;
        }
    }

    fn wait(&mut self, waiting: Waiting) {
        if self.has_settled {
            return self.give(waiting);
        }
        let now = waiting.at;
        self.settles.get_or_insert(now + SETTLE);
        self.waiting_bytes += waiting.frame.data.len();
        self.waiting.push_back(waiting);
        self.settle(now);
    }

    /// Gives the frames that waited, once it is known how the tracks lie to each other, or was waited for in vain.
    fn settle(&mut self, now: Instant) {
        let full = self.waiting.len() > WAITING_MAX || self.waiting_bytes > WAITING_BYTES_MAX;
        let late = self.settles.is_some_and(|at| at <= now);
        if self.has_settled || !(self.clocks.is_settled() || full || late) {
            return;
        }
        self.has_settled = true;
        self.clocks.settle_by_arrivals();
        for waiting in std::mem::take(&mut self.waiting) {
            self.give(waiting);
        }
    }

    fn give(&mut self, waiting: Waiting) {
        let Waiting { track, frame, at, wall } = waiting;
        let shown = self.clocks.place(track, frame.time, at);
        let Some(depacket) = self.tracks.get(track).map(|track| &track.depacket) else { return };
        let (coding, stereo) = (depacket.coding(), depacket.is_stereo());
        if let Some(config) = depacket.described() {
            self.sound.begin_foreign(config, &mut self.demuxed);
        }
        let given = match coding {
            Coding::Video(codec) => self.give_picture(codec, frame, shown),
            Coding::Audio(codec) => self.give_sound(codec, frame, shown, stereo),
        };
        self.counts.add_many(Anomaly::BadUnit, u32::from(!given));
        self.out.extend(self.demuxed.drain(..).map(|item| Taken { at, wall, item }));
    }

    fn give_picture(&mut self, codec: VideoCodec, frame: Frame, shown: i64) -> bool {
        if matches!(codec, VideoCodec::Foreign(_)) {
            return self.give_foreign(codec, frame, shown);
        }
        if frame.lossy {
            // What is coded from a frame that is missing looks broken, and some decoders give up (RTSP-7).
            self.video.lose();
        }
        let mut good = true;
        if let Some(record) = frame.record {
            let header = VideoPacket::Header { codec, record };
            good = self.video.push(0, 0, header, &mut self.demuxed).is_ok();
            if let Some(Demuxed::Config(_, config)) = self.demuxed.back()
                && let Some(picture) = config.picture()
            {
                self.order.begin(picture.max_reorder, picture.frame_rate);
            }
        }
        if !self.video.is_begun() {
            // Parameter sets are to come with a keyframe.
            return good;
        }
        let decoded = self.order.place(shown);
        // A whole number of milliseconds, so that the time it is shown at stays exact.
        let cts = (shown - decoded + MILLI / 2) / MILLI;
        let (timestamp, nanos) = stamp(shown - cts * MILLI);
        let cts = i32::try_from(cts).unwrap_or(0);
        let picture = VideoPacket::Frame { codec, key: false, cts, data: frame.data };
        good & self.video.push(timestamp, nanos, picture, &mut self.demuxed).is_ok()
    }

    /// A picture that needs no other and says itself what it is: it is decoded when it is shown. One with a hole is of no
    /// use, and nothing depends on it.
    fn give_foreign(&mut self, codec: VideoCodec, frame: Frame, shown: i64) -> bool {
        if frame.lossy {
            return true;
        }
        let (data, (timestamp, nanos)) = (frame.data, stamp(shown));
        let header = VideoPacket::Header { codec, record: Bytes::new() };
        let begun = self.video.push(timestamp, nanos, header, &mut self.demuxed).is_ok();
        let picture = VideoPacket::Frame { codec, key: true, cts: 0, data };
        begun & self.video.push(timestamp, nanos, picture, &mut self.demuxed).is_ok()
    }

    fn give_sound(&mut self, codec: AudioCodec, frame: Frame, shown: i64, stereo: bool) -> bool {
        let (timestamp, nanos) = stamp(shown);
        let mut good = true;
        if let Some(record) = frame.record.filter(|_| codec == AudioCodec::Aac) {
            let header = AudioPacket::Header { codec, record };
            good = self.sound.push(timestamp, nanos, header, &mut self.demuxed).is_ok();
        }
        let packet = AudioPacket::Frame { codec, stereo, data: frame.data };
        good & self.sound.push(timestamp, nanos, packet, &mut self.demuxed).is_ok()
    }
}

impl Track {
    /// A packet is of the sender that this track has, or may have next (RTSP-21).
    fn is_of(&self, packet: &Packet) -> bool {
        self.source.is_none_or(|(source, last)| {
            source == packet.source || packet.at.saturating_duration_since(last) >= REPLACED_AFTER
        })
    }
}

/// Milliseconds and nanoseconds of a time on the axis.
fn stamp(nanos: i64) -> (u32, u32) {
    let nanos = nanos.saturating_add(BEGIN).max(0);
    ((nanos / MILLI) as u32, (nanos % MILLI) as u32)
}

#[cfg(test)]
mod tests;
