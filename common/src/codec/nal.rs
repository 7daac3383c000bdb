//! NAL units in length-prefixed samples.
