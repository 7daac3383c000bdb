//! What the packager gets: which tracks it knows, and when it hears of what becomes of them.

use std::sync::Arc;

use aqueduct_common::event::{RungState, Transcode};
use aqueduct_common::feed::Absence;
use aqueduct_common::{Feed, MediaTime, Track, TrackId, TrackKind, TrackSet};

use super::{Action, Flow};
use crate::host::rendition::Rendition;

impl Flow {
    /// Sends a message on, or holds it while the renditions are not known.
    pub(super) fn publish(&mut self, message: Feed) {
        if let Some(message) = self.gate.pass(message) {
            self.out.push_back(Action::Publish(message));
        }
    }

    /// All tracks there are: the source's pictures, rungs from top to bottom, then sound.
    fn compose(&self) -> TrackSet {
        let through = |kind| {
            let ids = self.ladder.through.iter();
            let tracks = ids.filter_map(|id| self.source.by_id(*id));
            tracks.filter(move |track: &&Track| track.kind() == kind).cloned()
        };
        // A rung that was given up is not the reference: it is named again when it is back.
        let leads = self.source_leads();
        let given_up = move |rendition: &&Rendition| !leads && rendition.state() == RungState::Shed;
        let encoded = |kind| {
            let of_kind = self.renditions.iter().filter(move |rendition| rendition.kind == kind);
            let of_kind = of_kind.skip_while(given_up);
            of_kind.filter_map(|rendition| rendition.announced.as_deref().cloned())
        };
        let (video, audio) = (TrackKind::Video, TrackKind::Audio);
        let tracks =
            through(video).chain(encoded(video)).chain(through(audio)).chain(encoded(audio)).collect();
        TrackSet { tracks }
    }

    /// The source's picture is a rendition, and so the reference.
    pub(super) fn source_leads(&self) -> bool {
        self.main().is_some_and(|main| self.ladder.through.contains(&main))
    }

    /// The source's picture can be packaged as it is.
    pub(super) fn is_playable(&self) -> bool {
        let main = self.main().and_then(|main| self.source.by_id(main));
        main.is_none_or(|main| main.codec.is_playable())
    }

    fn compose_and_note(&mut self) -> Option<Arc<TrackSet>> {
        let set = self.compose();
        if set.tracks.is_empty() {
            return None;
        }
        self.published = set.tracks.iter().map(|track| track.id).collect();
        self.reference = set.reference().map(|track| track.id);
        self.broken = false;
        self.waiting.clear();
        Some(Arc::new(set))
    }

    /// Sends the tracks that there are now: an implied discontinuity.
    pub(super) fn publish_tracks(&mut self) {
        if let Some(set) = self.compose_and_note() {
            self.out.push_back(Action::Publish(Feed::Tracks(set)));
            self.publish_absences();
        }
    }

    /// Lets out what was held, with the tracks that there are. Where there are none, a rendition is waited for, and no more
    /// is held than the next one needs.
    pub(super) fn open(&mut self) {
        let Some(set) = self.compose_and_note() else { return self.gate.forget() };
        let held = self.gate.open(&set);
        self.out.extend(held.into_iter().map(Action::Publish));
        self.publish_absences();
    }

    /// A track set says nothing of who is away.
    fn publish_absences(&mut self) {
        let away: Vec<_> = self
            .renditions
            .iter()
            .filter(|rendition| {
                self.published.contains(&rendition.id()) && self.reference != Some(rendition.id())
            })
            .filter_map(|rendition| absence(rendition.state()).map(|absence| (rendition.id(), absence)))
            .collect();
        for (track, absence) in away {
            self.publish(Feed::Lost(track, absence));
        }
    }

    /// A wanted rendition has not said its parameters yet.
    pub(super) fn lacks_announcements(&self) -> bool {
        let silent = |rendition: &Rendition| rendition.is_wanted() && rendition.announced.is_none();
        self.renditions.iter().any(silent)
    }

    /// The packager does not know a rendition that could be given to it.
    pub(super) fn lacks_renditions(&self) -> bool {
        let missing = |rendition: &Rendition| {
            let is_there = rendition.announced.is_some() && rendition.state() != RungState::Shed;
            is_there && !self.published.contains(&rendition.id())
        };
        self.renditions.iter().any(missing)
    }

    /// After a track set, renditions begin at its first sample.
    pub(super) fn restart_renditions(&mut self, pts: MediaTime) {
        let main = self.main();
        for rendition in self.renditions.iter_mut().filter(|rendition| Some(rendition.source) == main) {
            rendition.restart_at(pts);
        }
    }

    /// A rendition's samples stop coming.
    pub(super) fn lose(&mut self, track: TrackId, state: RungState, reason: &str) {
        self.gate.forget_track(track);
        self.waiting.retain(|sample| sample.track != track);
        if let Some(absence) = absence(state)
            && self.gate.is_open()
            && self.published.contains(&track)
        {
            match self.reference == Some(track) {
                // Behind the break that brings it back, all others begin anew.
                true => {
                    self.broken = true;
                    let video = |other: &&mut Rendition| other.kind == TrackKind::Video;
                    self.renditions.iter_mut().filter(video).for_each(|other| {
                        other.lose();
                    });
                }
                false => self.publish(Feed::Lost(track, absence)),
            }
        }
        self.report(Transcode::Rung { track, state, reason: reason.to_owned() });
    }
}

const fn absence(state: RungState) -> Option<Absence> {
    match state {
        RungState::Lost => Some(Absence::Failed),
        RungState::Shed => Some(Absence::Shed),
        RungState::Asleep => Some(Absence::Asleep),
        RungState::Starting | RungState::Running => None,
    }
}
