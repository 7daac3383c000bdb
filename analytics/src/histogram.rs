//! A histogram whose counts arrive already sorted into buckets, as [`EdgeTick`](aqueduct_common::event::EdgeTick)
//! brings them.

use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

/// Counts per bucket, the last one for all that lies beyond.
#[derive(Debug, Clone)]
pub(crate) struct Bucketed {
    name: &'static str,
    help: &'static str,
    bounds_seconds: Arc<[f64]>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    counts: Vec<u64>,
    sum_seconds: f64,
}

impl Bucketed {
    pub(crate) fn new(name: &'static str, help: &'static str, bounds_micros: &[u64]) -> Self {
        let bounds_seconds: Arc<[f64]> = bounds_micros.iter().map(|micros| *micros as f64 / 1e6).collect();
        let counts = vec![0; bounds_seconds.len() + 1];
        Self { name, help, bounds_seconds, state: Arc::new(Mutex::new(State { counts, sum_seconds: 0.0 })) }
    }

    /// Adds counts per bucket; counts beyond the known buckets go to the last one.
    pub(crate) fn add(&self, counts: &[u64], sum_micros: u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let last = state.counts.len() - 1;
        for (index, count) in counts.iter().enumerate() {
            state.counts[index.min(last)] += count;
        }
        state.sum_seconds += sum_micros as f64 / 1e6;
    }
}

impl Collector for Bucketed {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let bounds = self.bounds_seconds.iter().copied().chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(state.counts.iter().copied()).collect();
        let total = state.counts.iter().sum();
        let mut metric = encoder.encode_descriptor(self.name, self.help, None, MetricType::Histogram)?;
        metric.encode_histogram::<NoLabelSet>(state.sum_seconds, total, &buckets, None)
    }
}
