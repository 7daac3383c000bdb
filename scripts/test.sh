#!/usr/bin/env bash
# Runs every test of the workspace. End-to-end tests measure players and encoders by the clock, four at once: one that fails
# among its neighbours has up to two more turns, by itself, and fails for good if it fails in both. What needed them is named
# at the end. Any other test has one turn, and so have all where many fail. Usage: scripts/test.sh CARGO TARGET-FOLDER.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo=${1:?the cargo to run}
target=${2:?the target folder}
# More than these are no matter of neighbours.
most=8
log=$target/test.log
# An error of these tests says what was seen; whence it was awaited says nothing.
export RUST_BACKTRACE=0 SERVER_UNDER_TEST=$target/debug/aqueduct

# What failed of the end-to-end tests: the names in the list that ends them.
failed() {
  awk '/^ +Running /{e2e=/e2e/} e2e&&/^failures:$/{n++; next} e2e&&n==2&&/^    /{print $1} /^test result:/{n=0}' "$log"
}
# What they said, the beginning and the end of each.
said() {
  for name in "$@"; do
    echo "--- $name, among others:"
    awk -v head="---- $name stdout ----" '$0==head{on=1; next} /^---- .* stdout ----$/||/^failures:$/{on=0} on' "$log" \
      | cut -c1-1500 | awk '{l[NR]=$0} END{for(i=1;i<=NR;i++) if(i<=12||i>NR-6) print l[i]; else if(i==13) print "[…]"}'
  done
}

# Tests wait more than they work, so there are more of them at once than cores; the long ones take room
# (tests/src/world/room.rs).
if RUST_TEST_THREADS=4 "$cargo" test --locked --workspace --no-fail-fast 2>&1 | tee "$log"; then
  exit 0
fi
mapfile -t names < <(failed)
# Cargo lists the test programs that failed at its end.
programs=$(grep -c "^    \`-p " "$log" || true)
if [ "${#names[@]}" -eq 0 ] || [ "${#names[@]}" -gt "$most" ] || [ "$programs" -ne 1 ]; then
  said "${names[@]}"
  echo "test: FAILED (${#names[@]} end-to-end tests; $programs test programs)" >&2
  exit 1
fi
echo "test: ${#names[@]} of the end-to-end tests failed among others; each has up to two more turns, by itself" >&2
alone() { "$cargo" test --locked --workspace --test e2e -- --exact "$1" --test-threads=1; }
passed=() lost=()
for name in "${names[@]}"; do
  if alone "$name"; then passed+=("$name (in its second turn)")
  elif alone "$name"; then passed+=("$name (in its third turn)")
  else lost+=("$name"); fi
done
said "${names[@]}"
for name in "${passed[@]}"; do echo "test: passed by itself: $name" >&2; done
if [ "${#lost[@]}" -gt 0 ]; then
  echo "test: FAILED three times: ${lost[*]}" >&2
  exit 1
fi
echo "test: passed; what failed among others is worth a look where it does so often" >&2
