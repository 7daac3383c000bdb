#!/bin/sh
# Runs one test program for `cargo test`. Four tests at once suit the machine, as they wait more than they work; the
# end-to-end tests may all begin at once, as each asks for the room that it takes (tests/src/world/room.rs).
case $1 in
  */e2e-*) RUST_TEST_THREADS=512 ;;
  *) RUST_TEST_THREADS=4 ;;
esac
export RUST_TEST_THREADS
exec "$@"
