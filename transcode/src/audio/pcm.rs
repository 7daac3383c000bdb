//! Decoded sound.

use ffmpeg_next as av;

/// Loudest sample that is believed: 24 dB above full scale (AVP-3).
const RUNAWAY: f32 = 16.0;
/// Below this a sample is nothing, and slow to reckon with (AVP-3): −300 dB.
const DENORMAL: f32 = 1e-15;

/// Planar samples: one vector for each channel, all of one length. Full scale is ±1.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Pcm {
    pub(super) planes: Vec<Vec<f32>>,
}

impl Pcm {
    /// Silence.
    pub(super) fn silence(channels: usize, samples: usize) -> Self {
        Self { planes: vec![vec![0.0; samples]; channels] }
    }

    /// Nothing yet.
    pub(super) fn empty(channels: usize) -> Self {
        Self::silence(channels, 0)
    }

    /// Samples of each channel.
    pub(super) fn len(&self) -> usize {
        self.planes.first().map_or(0, Vec::len)
    }

    /// Puts `other` behind this. Channels that `other` lacks get its first one.
    pub(super) fn append(&mut self, other: &Self) {
        for (n, plane) in self.planes.iter_mut().enumerate() {
            if let Some(from) = other.planes.get(n).or(other.planes.first()) {
                plane.extend_from_slice(from);
            }
        }
    }

    /// Takes up to `samples` off the front.
    pub(super) fn take(&mut self, samples: usize) -> Self {
        let taken = |plane: &mut Vec<f32>| plane.drain(..samples.min(plane.len())).collect();
        Self { planes: self.planes.iter_mut().map(taken).collect() }
    }

    /// Replaces what no filter survives: no number, infinity, runaway values, denormals (AVP-3).
    pub(super) fn sanitise(&mut self) {
        for sample in self.planes.iter_mut().flatten() {
            let size = sample.abs();
            *sample = match *sample {
                _ if size < DENORMAL => 0.0,
                loud if loud.is_finite() => loud.clamp(-RUNAWAY, RUNAWAY),
                _ => 0.0,
            };
        }
    }

    /// A libav frame of planar floats at `rate` Hz.
    pub(super) fn frame(&self, rate: u32) -> av::frame::Audio {
        let mut frame = av::frame::Audio::new(FORMAT, self.len(), layout(self.planes.len()));
        frame.set_rate(rate);
        for (n, plane) in self.planes.iter().enumerate().take(frame.planes()) {
            frame.plane_mut::<f32>(n).copy_from_slice(plane);
        }
        frame
    }

    /// The samples of a libav frame of planar floats.
    pub(super) fn of_frame(frame: &av::frame::Audio) -> Self {
        if frame.samples() == 0 || frame.format() != FORMAT {
            return Self::default();
        }
        Self { planes: (0..frame.planes()).map(|n| frame.plane::<f32>(n).to_vec()).collect() }
    }
}

/// The one sample format inside the chain.
pub(super) const FORMAT: av::format::Sample = av::format::Sample::F32(av::format::sample::Type::Planar);

/// The usual layout of so many channels.
pub(super) fn layout(channels: usize) -> av::ChannelLayout {
    av::ChannelLayout::default(i32::try_from(channels).unwrap_or(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_poisonous_gets_through() {
        let mut pcm = Pcm { planes: vec![vec![f32::NAN, f32::INFINITY, -1e9, 1e-30, 0.5]] };
        pcm.sanitise();
        assert_eq!(pcm.planes[0], [0.0, 0.0, -16.0, 0.0, 0.5]);
    }

    #[test]
    fn samples_survive_a_libav_frame() {
        let pcm = Pcm { planes: vec![vec![0.25; 100], vec![-0.5; 100]] };
        assert_eq!(Pcm::of_frame(&pcm.frame(48_000)), pcm);
    }
}
