#!/usr/bin/env bash
# Every measurement, one after the other, and one table at the end. About eleven minutes; `--quick` is a smoke run of
# about one, whose figures mean little. `--record` also puts the table at the end of docs/performance.md. Arguments that
# are not flags name the measurements to run.
set -euo pipefail
cd "$(dirname "$0")/.."

flags=()
measurements=()
record=no
for argument in "$@"; do
  case $argument in
    --record) record=yes ;;
    -*) flags+=("$argument") ;;
    *) measurements+=("$argument") ;;
  esac
done
[ ${#measurements[@]} -gt 0 ] || measurements=(lag herd serve memory ingest ladder viewers relay health rtsp)

bench=${CARGO_TARGET_DIR:-target}/release/aqueduct-bench
out=benches/out/$(date -u +%Y%m%dT%H%M%SZ).jsonl
mkdir -p benches/out
failed=()
for measurement in "${measurements[@]}"; do
  echo "== $measurement" >&2
  "$bench" "${flags[@]}" --out "$out" "$measurement" || failed+=("$measurement")
done
[ -s "$out" ] || { echo "no measurement was made" >&2; exit 1; }

echo
echo "== all, kept in $out"
"$bench" --out "$out" table
if [ $record = yes ]; then
  page=docs/performance.md
  before=$(sed '/^## Newest figures$/q' "$page")
  { echo "$before"; echo; echo "$(date -u +%Y-%m-%d), commit $(git rev-parse --short HEAD)."; "$bench" --out "$out" table; } >"$page.new"
  mv "$page.new" "$page"
fi
if [ ${#failed[@]} -gt 0 ]; then
  echo "not measured: ${failed[*]}" >&2
  exit 1
fi
