//! Levels of sound whose loudness is looked after (AVP-11).

use std::sync::atomic::AtomicU64;

use aqueduct_common::event::SoundTick;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::metrics::ByStream;

type Readings = Family<ByStream, Gauge<f64, AtomicU64>>;

/// The gauges. Renditions of one source differ in their bitrates only: a stream's first one stands for all.
#[derive(Debug, Default)]
pub(crate) struct SoundMetrics {
    integrated: Readings,
    short_term: Readings,
    true_peak: Readings,
    gain: Readings,
    reduction: Readings,
}

impl SoundMetrics {
    pub(crate) fn register(&self, r: &mut Registry) {
        let gauges = [
            ("integrated_lufs", "Loudness since a rendition began, gated, as it is heard", &self.integrated),
            ("short_term_lufs", "Loudness of the last three seconds, as it is heard", &self.short_term),
            ("true_peak_dbtp", "Greatest true peak of the last second, as it is heard", &self.true_peak),
            ("gain_db", "Gain toward the target loudness", &self.gain),
            ("reduction_db", "Most that the limiter turned down in the last second", &self.reduction),
        ];
        for (name, help, gauge) in gauges {
            r.register(format!("transcode_sound_{name}"), help, gauge.clone());
        }
    }

    /// Silence has no level: its gauge goes.
    pub(crate) fn record(&self, sound: &[SoundTick], label: &ByStream) {
        let Some(tick) = sound.first() else { return self.forget(label) };
        let readings = [
            (&self.integrated, tick.integrated),
            (&self.short_term, tick.short_term),
            (&self.true_peak, tick.true_peak),
            (&self.gain, Some(tick.gain)),
            (&self.reduction, Some(tick.reduction)),
        ];
        for (gauge, reading) in readings {
            match reading {
                Some(reading) => {
                    gauge.get_or_create(label).set(reading);
                }
                None => {
                    gauge.remove(label);
                }
            }
        }
    }

    pub(crate) fn forget(&self, label: &ByStream) {
        for gauge in [&self.integrated, &self.short_term, &self.true_peak, &self.gain, &self.reduction] {
            gauge.remove(label);
        }
    }
}
