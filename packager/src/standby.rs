//! Follows a feed that is not packaged, so that packaging can begin in its middle. Pure.
//!
//! Where two nodes get the same push, one packages it and the other one stands by. When it takes over it needs what was
//! said before: the tracks, their absences, the clock. It begins with the reference track's next sync sample.

use std::collections::BTreeMap;
use std::sync::Arc;

use aqueduct_common::feed::Absence;
use aqueduct_common::{ClockMap, Feed, Sample, TrackId, TrackKind, TrackSet};

/// What is known of a feed, and whether it goes on to a packager.
#[derive(Debug, Default)]
pub(crate) struct Standby {
    tracks: Option<Arc<TrackSet>>,
    clock: Option<ClockMap>,
    absent: BTreeMap<TrackId, Absence>,
    state: State,
}

#[derive(Debug, Default)]
enum State {
    /// Everything goes on.
    #[default]
    Open,
    /// The same, save what comes of these tracks before their first sync sample.
    Begun(Vec<TrackId>),
    /// Nothing goes on until the reference track can be decoded.
    Opening,
    /// Nothing goes on.
    Closed,
}

impl Standby {
    /// Nothing goes on from now on.
    pub(crate) fn close(&mut self) {
        self.state = State::Closed;
    }

    /// A new packager takes over as soon as one can.
    pub(crate) fn open(&mut self) {
        if matches!(self.state, State::Closed) {
            self.state = State::Opening;
        }
    }

    /// Takes the next message; what goes on for it is added to `out`.
    pub(crate) fn push(&mut self, message: Feed, out: &mut Vec<Feed>) {
        self.note(&message);
        match (&mut self.state, message) {
            (State::Open, message) => out.push(message),
            (State::Closed, _) => {}
            (State::Opening, Feed::Sample(sample)) => self.begin(sample, out),
            (State::Opening, _) => {}
            (State::Begun(late), Feed::Sample(sample)) => {
                if sample.sync {
                    late.retain(|track| *track != sample.track);
                }
                if !late.contains(&sample.track) {
                    out.push(Feed::Sample(sample));
                }
            }
            (State::Begun(_), message) => {
                // From new tracks on every track begins anew by itself.
                if matches!(message, Feed::Tracks(_)) {
                    self.state = State::Open;
                }
                out.push(message);
            }
        }
        if matches!(&self.state, State::Begun(late) if late.is_empty()) {
            self.state = State::Open;
        }
    }

    fn begin(&mut self, sample: Sample, out: &mut Vec<Feed>) {
        let Some(tracks) = self.tracks.as_ref() else { return };
        let Some(reference) = tracks.reference().map(|track| track.id) else { return };
        if sample.track != reference || !sample.sync {
            return;
        }
        out.push(Feed::Tracks(tracks.clone()));
        out.extend(self.clock.map(Feed::Clock));
        out.extend(self.absent.iter().map(|(track, absence)| Feed::Lost(*track, *absence)));
        let pictures = tracks.tracks.iter().filter(|track| track.kind() == TrackKind::Video);
        let late = pictures.map(|track| track.id).filter(|track| *track != reference);
        self.state = State::Begun(late.collect());
        out.push(Feed::Sample(sample));
    }

    fn note(&mut self, message: &Feed) {
        match message {
            Feed::Tracks(tracks) => {
                self.tracks = Some(tracks.clone());
                let known = |track: &TrackId| tracks.by_id(*track).is_some();
                self.absent.retain(|track, _| known(track));
            }
            Feed::Changed(track) => {
                if let Some(tracks) = &self.tracks {
                    let replaced = tracks
                        .tracks
                        .iter()
                        .map(|one| if one.id == track.id { (**track).clone() } else { one.clone() });
                    self.tracks = Some(Arc::new(TrackSet { tracks: replaced.collect() }));
                }
            }
            Feed::Lost(track, absence) => drop(self.absent.insert(*track, *absence)),
            Feed::Returns(track, _) => drop(self.absent.remove(track)),
            Feed::Clock(clock) => self.clock = Some(*clock),
            Feed::Sample(sample) if sample.sync && !self.absent.is_empty() => {
                self.absent.remove(&sample.track);
            }
            Feed::Sample(_) | Feed::Discontinuity(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use aqueduct_common::codec::{AacConfig, AvcConfig, Picture};
    use aqueduct_common::track::Grid;
    use aqueduct_common::{CodecConfig, MediaTime, Timescale, Track, WallTime};
    use bytes::Bytes;

    use super::*;

    const RUNG: TrackId = TrackId(16);

    fn track(id: TrackId, codec: CodecConfig) -> Track {
        let timescale = Timescale::of(90_000);
        let grid = Grid::Fixed(MediaTime::new(3_600, timescale));
        Track { id, codec, timescale, grid, reorder_delay: 0, language: "und".into(), bandwidth: None }
    }

    fn sample(track: TrackId, number: i64, sync: bool) -> Feed {
        let dts = MediaTime::new(number * 3_600, Timescale::of(90_000));
        let (payload, received) = (Bytes::from_static(b"frame"), WallTime::default());
        Feed::Sample(Sample {
            track,
            dts,
            pts: dts,
            duration: 3_600,
            sync,
            disposable: false,
            payload,
            received,
        })
    }

    fn clock(micros: i64) -> Feed {
        let media = MediaTime::new(0, Timescale::of(90_000));
        Feed::Clock(ClockMap { media, wall: WallTime { micros } })
    }

    /// What goes on for these, in short.
    fn told(standby: &mut Standby, messages: Vec<Feed>) -> Vec<String> {
        let mut out = Vec::new();
        messages.into_iter().for_each(|message| standby.push(message, &mut out));
        let short = |message: &Feed| match message {
            Feed::Tracks(tracks) => format!("tracks {}", tracks.tracks.len()),
            Feed::Clock(clock) => format!("clock {}", clock.wall.micros),
            Feed::Lost(track, _) => format!("lost {}", track.0),
            Feed::Sample(sample) => format!("{}@{}", sample.track.0, sample.dts.ticks / 3_600),
            other => format!("{other:?}"),
        };
        out.iter().map(short).collect()
    }

    fn set() -> Feed {
        let video = || {
            let picture = Picture { width: 1_280, height: 720, sar: (1, 1), ..Picture::default() };
            let (record, sps, pps) = (Bytes::from_static(b"avcC"), Vec::new(), Vec::new());
            CodecConfig::H264(AvcConfig { record, length_size: 4, sps, pps, picture })
        };
        let record = Bytes::from_static(&[0x11, 0x90]);
        let sound = CodecConfig::Aac(AacConfig::parse(&record).unwrap());
        let tracks = vec![track(TrackId::VIDEO, video()), track(TrackId::AUDIO, sound), track(RUNG, video())];
        Feed::Tracks(Arc::new(TrackSet { tracks }))
    }

    #[test]
    fn who_leads_from_the_start_hears_all_as_it_is() {
        let mut standby = Standby::default();
        let all = vec![set(), clock(1), sample(TrackId::AUDIO, 0, true), sample(RUNG, 0, false)];
        assert_eq!(told(&mut standby, all).len(), 4);
    }

    #[test]
    fn who_takes_over_begins_with_what_was_said_and_a_picture_that_can_be_decoded() {
        let mut standby = Standby::default();
        standby.close();
        let (video, audio) = (TrackId::VIDEO, TrackId::AUDIO);
        let lost = Feed::Lost(RUNG, Absence::Failed);
        assert!(told(&mut standby, vec![set(), clock(1), sample(video, 0, true), lost]).is_empty());
        assert!(told(&mut standby, vec![clock(2), sample(video, 1, false)]).is_empty());
        standby.open();
        let before = vec![sample(video, 2, false), sample(audio, 2, true)];
        assert!(told(&mut standby, before).is_empty());
        let first = vec![sample(video, 3, true), sample(audio, 3, true), sample(RUNG, 2, false)];
        assert_eq!(told(&mut standby, first), ["tracks 3", "clock 2", "lost 16", "0@3", "1@3"]);
        let rest = vec![sample(RUNG, 3, true), sample(RUNG, 4, false), sample(video, 4, false)];
        assert_eq!(told(&mut standby, rest), ["16@3", "16@4", "0@4"]);
        // It steps down, and takes over once more: the rung is there by now.
        standby.close();
        assert!(told(&mut standby, vec![sample(video, 5, true)]).is_empty());
        standby.open();
        assert_eq!(told(&mut standby, vec![sample(video, 6, true)]), ["tracks 3", "clock 2", "0@6"]);
    }
}
