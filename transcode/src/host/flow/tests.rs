//! A stream through the host without processes: what a worker would answer is made here.

mod anything;
mod bench;
mod life;
mod load;
mod plans;
