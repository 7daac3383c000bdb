//! A stream's state: it moves from the registry to the active lease and back, so it has one owner at any time.

use std::time::{Duration, Instant};

use aqueduct_common::event::IngestTick;
use aqueduct_common::queue::{self, FeedSender, Sent};
use aqueduct_common::{Publication, StreamName, TrackId, TrackKind, WallTime};
use tokio::sync::mpsc;

use super::{Pace, Shed};
use crate::demux::{Demuxed, Notice, track_id};
use crate::timeline::{Known, Timeline};

/// Messages between ingest and the next stage: two seconds and more of six video tracks of 60 frames and six audio tracks
/// of 50 packets a second, and the frames that the probe held (RTMP-67). When it is full, samples are dropped up to the
/// next sync sample.
const FEED_CAPACITY: usize = 2_048;

/// One stream over all its publishers.
#[derive(Debug)]
pub(super) struct Flow {
    stream: StreamName,
    timeline: Timeline,
    /// `None` until the first message for the packager.
    feed: Option<FeedSender>,
    /// Announced as soon as there is room.
    publication: Option<Publication>,
    publications: mpsc::Sender<Publication>,
    reported_drops: u64,
}

impl Flow {
    pub(super) fn new(stream: StreamName, publications: mpsc::Sender<Publication>) -> Self {
        Self {
            stream,
            timeline: Timeline::new(),
            feed: None,
            publication: None,
            publications,
            reported_drops: 0,
        }
    }

    pub(super) const fn stream(&self) -> &StreamName {
        &self.stream
    }

    /// Something was sent to the packager.
    pub(super) const fn has_begun(&self) -> bool {
        self.feed.is_some()
    }

    /// Nobody takes what this stream sends: another publisher needs a new one.
    pub(super) fn is_orphaned(&self) -> bool {
        self.feed.as_ref().is_some_and(FeedSender::is_closed)
    }

    /// A publisher begins.
    pub(super) fn begin(&mut self) {
        self.timeline.begin();
    }

    /// What is known of the publisher that has just begun.
    pub(super) fn expect(&mut self, known: Known) {
        self.timeline.expect(known);
    }

    /// The publisher is gone.
    pub(super) fn end(&mut self) {
        self.timeline.end();
        // Whether somebody is downstream shows at the next publish.
        let _ = self.forward();
    }

    /// Takes what came of the publisher. Returns whether it is a frame that can be used.
    pub(super) fn take(&mut self, now: Instant, wall: WallTime, item: Demuxed) -> Result<bool, Shed> {
        let usable = self.place(now, wall, item);
        self.forward()?;
        Ok(usable)
    }

    fn place(&mut self, now: Instant, wall: WallTime, item: Demuxed) -> bool {
        match item {
            Demuxed::Config(track, config) => {
                self.timeline.config(track, config);
                false
            }
            Demuxed::Frame(frame) => {
                let usable = frame.track <= TrackId::AUDIO;
                self.timeline.push(now, wall, frame);
                usable
            }
        }
    }

    /// How long such a source's frames are under way.
    pub(super) fn set_delay(&mut self, delay: Duration) {
        self.timeline.set_delay(delay);
    }

    /// How fast the publisher may go on.
    pub(super) fn pace(&self) -> Pace {
        Pace::after(self.timeline.wait())
    }

    pub(super) const fn timeline(&self) -> &Timeline {
        &self.timeline
    }

    pub(super) fn take_notice(&mut self) -> Option<Notice> {
        self.timeline.take_notice()
    }

    /// What the publisher says that its sound is spoken in, by the tracks' numbers on the wire.
    pub(super) fn set_languages(&mut self, languages: &[(u8, String)]) {
        for (number, language) in languages {
            self.timeline.set_language(track_id(TrackKind::Audio, *number), language.clone());
        }
    }

    /// Writes the last second's figures into `tick`.
    pub(super) fn take_readings(&mut self, tick: &mut IngestTick) {
        self.timeline.take_readings(tick);
        let dropped = self.feed.as_ref().map_or(0, FeedSender::dropped);
        tick.dropped = dropped - self.reported_drops;
        self.reported_drops = dropped;
    }

    /// Anomalies since they were last asked for.
    pub(super) fn take_counts(
        &mut self,
    ) -> impl Iterator<Item = (aqueduct_common::event::Anomaly, u32)> + use<> {
        self.timeline.take_counts()
    }

    /// Sends what the timeline made.
    fn forward(&mut self) -> Result<(), Shed> {
        while let Some(message) = self.timeline.poll() {
            if self.feed.is_none() {
                let (feed, receiver) = queue::feed(FEED_CAPACITY);
                self.feed = Some(feed);
                self.publication = Some(Publication { stream: self.stream.clone(), feed: receiver });
                self.announce()?;
            }
            if let Some(feed) = &mut self.feed
                && feed.send(message) == Sent::Closed
            {
                return Err(Shed::Downstream);
            }
        }
        self.announce()
    }

    /// Hands the publication on. A full queue keeps it here until the next message.
    fn announce(&mut self) -> Result<(), Shed> {
        let Some(publication) = self.publication.take() else { return Ok(()) };
        match self.publications.try_send(publication) {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Full(publication)) => {
                self.publication = Some(publication);
                Ok(())
            }
            Err(mpsc::error::TrySendError::Closed(_)) => Err(Shed::Downstream),
        }
    }
}
