#!/bin/sh
# Runs every fuzz target in turn and prints a table. Exit status 1: a target had a finding.
#
#   fuzz/run.sh [SECONDS_PER_TARGET] [TARGET...]     60 seconds and all targets by default
#
# New inputs go to fuzz/target/corpus, findings to fuzz/artifacts; the seeds in fuzz/corpus are only read.
set -eu
cd "$(dirname "$0")/.."
seconds=${1:-60}
[ $# -gt 0 ] && shift
# Without a nightly compiler the stable one is told to take nightly's flags; AddressSanitizer's runtime is nightly's alone.
if cargo +nightly --version >/dev/null 2>&1; then
    fuzz() { verb=$1; shift; cargo +nightly fuzz "$verb" "$@"; }
else
    fuzz() { verb=$1; shift; RUSTC_BOOTSTRAP=1 cargo fuzz "$verb" --sanitizer none "$@"; }
fi
[ $# -gt 0 ] || set -- $(sed -n '/^\[\[bin\]\]/{n;s/^name = "\(.*\)"/\1/p}' fuzz/Cargo.toml)

fuzz build
logs=fuzz/target/logs
mkdir -p "$logs"
failed=0
format='%-20s %8s %12s %8s %8s %8s  %s\n'
printf "$format" target seconds runs runs/s edges inputs result
for target in "$@"; do
    grown=fuzz/target/corpus/$target
    log=$logs/$target.log
    mkdir -p "$grown" "fuzz/corpus/$target"
    # An input may take 5 s and 1 GiB, and no single allocation more than 64 MiB: a length read off the wire that
    # sizes an allocation is a finding.
    if fuzz run "$target" "$grown" "fuzz/corpus/$target" -- -max_total_time="$seconds" \
        -timeout=5 -rss_limit_mb=1024 -malloc_limit_mb=64 -max_len=8192 -print_final_stats=1 >"$log" 2>&1
    then
        result=ok
    else
        result="FINDING, see $log"
        failed=1
    fi
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log" | tail -n 1)
    rate=$(sed -n 's/^stat::average_exec_per_sec: *//p' "$log" | tail -n 1)
    edges=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)
    inputs=$(ls "$grown" | wc -l)
    printf "$format" "$target" "$seconds" "${runs:--}" "${rate:--}" "${edges:--}" "$inputs" "$result"
done
exit $failed
