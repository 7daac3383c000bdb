//! A stream's state: it moves from the registry to the active lease and back, so it has one owner at any time.

use std::time::{Duration, Instant};

use aqueduct_common::event::IngestTick;
use aqueduct_common::queue::{self, FeedSender, Sent};
use aqueduct_common::{Publication, StreamName, WallTime};
use tokio::sync::mpsc;

use super::Shed;
use crate::demux::{Demuxed, Demuxer, Notice};
use crate::flv::Metadata;
use crate::rtmp::{MediaKind, Message};
use crate::timeline::Timeline;

/// Messages between ingest and packager: two seconds and more of the fastest usual stream, 120 frames of video and 100
/// packets of audio a second, and the frames that the probe held (RTMP-67). When it is full, samples are dropped up
/// to the next sync sample.
const FEED_CAPACITY: usize = 512;

/// Pictures come while the newest one came within this time.
const PICTURES_WITHIN: Duration = Duration::from_secs(2);

/// One stream over all its publishers.
#[derive(Debug)]
pub(super) struct Flow {
    stream: StreamName,
    demuxer: Demuxer,
    timeline: Timeline,
    /// `None` until the first message for the packager.
    feed: Option<FeedSender>,
    /// Announced as soon as there is room.
    publication: Option<Publication>,
    publications: mpsc::Sender<Publication>,
    reported_drops: u64,
    /// First and newest of the pictures since the last sync sample.
    keyless: Option<[Instant; 2]>,
}

impl Flow {
    pub(super) fn new(stream: StreamName, publications: mpsc::Sender<Publication>) -> Self {
        Self {
            stream,
            demuxer: Demuxer::default(),
            timeline: Timeline::new(),
            feed: None,
            publication: None,
            publications,
            reported_drops: 0,
            keyless: None,
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
        self.demuxer = Demuxer::default();
        self.keyless = None;
        self.timeline.begin();
    }

    /// The publisher is gone.
    pub(super) fn end(&mut self) {
        self.timeline.end();
        // Whether somebody is downstream shows at the next publish.
        let _ = self.forward();
    }

    /// For how long pictures have been coming of which none is a sync sample.
    pub(super) fn keyless(&self, now: Instant) -> Option<Duration> {
        let [first, newest] = self.keyless?;
        (now.saturating_duration_since(newest) < PICTURES_WITHIN)
            .then(|| now.saturating_duration_since(first))
    }

    /// Takes a message. Returns whether a frame that can be used came with it.
    pub(super) fn push(&mut self, now: Instant, wall: WallTime, message: &Message) -> Result<bool, Shed> {
        self.demuxer.push(message);
        let mut usable = false;
        while let Some(item) = self.demuxer.poll() {
            match item {
                Demuxed::Config(config) => self.timeline.config(config),
                Demuxed::Frame(frame) => {
                    usable = true;
                    self.timeline.push(now, wall, frame);
                }
            }
        }
        if message.kind == MediaKind::Video {
            let first = self.keyless.map_or(now, |[first, _]| first);
            self.keyless = self.demuxer.awaits_key().then_some([first, now]);
        }
        self.forward()?;
        Ok(usable)
    }

    pub(super) const fn timeline(&self) -> &Timeline {
        &self.timeline
    }

    pub(super) fn take_notice(&mut self) -> Option<Notice> {
        self.demuxer.take_notice()
    }

    pub(super) fn take_metadata(&mut self) -> Option<Metadata> {
        self.demuxer.take_metadata()
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
        self.demuxer.take_counts().chain(self.timeline.take_counts())
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
