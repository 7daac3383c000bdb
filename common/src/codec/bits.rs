//! A bit reader for parameter sets.
