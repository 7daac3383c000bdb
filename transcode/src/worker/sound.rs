//! The sound's thread: every sound rendition's chain.

use std::sync::mpsc::Receiver;

use aqueduct_common::Track;

use super::output::Output;
use super::stats::Stats;
use crate::audio::{AudioError, Chain};
use crate::protocol::{AudioJob, Frame, FromWorker};

/// What the thread is told.
pub(super) enum ToSound {
    /// The source's tracks from here on.
    Source(Vec<Track>),
    /// A frame of one of them.
    Frame(Frame),
    /// The timeline breaks.
    Break,
}

struct Rendition {
    job: AudioJob,
    chain: Option<Chain>,
    announced: Option<Track>,
}

/// The thread: ends when nobody sends any more.
pub(super) fn run(jobs: Vec<AudioJob>, out: &Output, stats: &Stats, messages: &Receiver<ToSound>) {
    let mut renditions: Vec<_> =
        jobs.into_iter().map(|job| Rendition { job, chain: None, announced: None }).collect();
    while let Ok(message) = messages.recv() {
        for rendition in &mut renditions {
            if let Err(error) = rendition.handle(&message, out) {
                out.trouble(format!("sound rendition {}: {error}", rendition.job.track.0));
                rendition.chain = None;
            }
            if let Some(report) = rendition.chain.as_mut().and_then(Chain::report) {
                stats.set_sound(report);
            }
        }
    }
    for rendition in &mut renditions {
        let _ = rendition.flush(out);
    }
}

impl Rendition {
    fn handle(&mut self, message: &ToSound, out: &Output) -> Result<(), AudioError> {
        match message {
            ToSound::Source(tracks) => {
                self.flush(out)?;
                let source = tracks.iter().find(|track| track.id == self.job.source);
                self.chain = source.map(|track| Chain::new(&self.job, track)).transpose()?;
                Ok(())
            }
            ToSound::Frame(frame) if frame.track == self.job.source => {
                let Some(chain) = &mut self.chain else { return Ok(()) };
                let frames = chain.push(frame.clone())?;
                self.give(frames, out);
                Ok(())
            }
            ToSound::Frame(_) => Ok(()),
            ToSound::Break => self.flush(out),
        }
    }

    fn flush(&mut self, out: &Output) -> Result<(), AudioError> {
        let Some(chain) = &mut self.chain else { return Ok(()) };
        let frames = chain.flush()?;
        self.give(frames, out);
        Ok(())
    }

    fn give(&mut self, frames: Vec<Frame>, out: &Output) {
        let track = self.chain.as_ref().and_then(Chain::track);
        if let Some(track) = track.filter(|track| self.announced.as_ref() != Some(track)) {
            out.send(FromWorker::Track(track.clone()));
            self.announced = Some(track);
        }
        for frame in frames {
            out.send(FromWorker::Frame(frame));
        }
    }
}
