//! The whole chain, by real codecs: libav's encoders make the sources, and its decoder hears the result.

mod codecs;
mod headroom;
mod levels;
mod source;
