#!/usr/bin/env bash
# Checks on a machine with a GPU that it really decodes, scales and (where the card can) encodes, with figures beside
# software's. Needs Python 3 and the card's driver, nothing else, when it is given a bundle of tests/hardware/pack.sh.
# Usage: tests/hardware/run.sh [--bundle FILE] [--backend nvidia|vaapi|qsv] [--streams N] [--seconds N] [--out DIR]
# Without a bundle, target/release/aqueduct (or AQUEDUCT) and the ffmpeg of this machine are used. Exit code 1: a check failed.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
bundle='' backend=nvidia streams=1 seconds=30 out=$(mktemp -d)
while [ $# -gt 0 ]; do
  case $1 in
    --bundle) bundle=$2 ;; --backend) backend=$2 ;; --streams) streams=$2 ;; --seconds) seconds=$2 ;; --out) out=$2 ;;
    *) echo "unknown option $1" >&2; exit 2 ;;
  esac
  shift 2
done

bin="$here/../../target/release" lib='' clip=''
if [ -n "$bundle" ]; then
  unpacked=$(mktemp -d)
  # Not every bare machine has the xz program; Python always brings the format.
  python3 -c 'import sys, tarfile; tarfile.open(sys.argv[1]).extractall(sys.argv[2])' "$bundle" "$unpacked"
  bin=$unpacked/bundle/bin lib=$unpacked/bundle/lib clip=$unpacked/bundle/clip.flv
fi
# The driver's libraries, where containers mount them.
for dir in /usr/local/nvidia/lib64 /usr/local/nvidia/lib; do [ -d "$dir" ] && lib="${lib:+$lib:}$dir"; done

echo "== the machine"
uname -srm; nproc
command -v nvidia-smi >/dev/null && nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader
ls -l /dev/nvidia* /dev/dri 2>/dev/null || true
# For our programs alone: the stubs of a bundle would break Python.
lib="$lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
ours() { LD_LIBRARY_PATH="$lib" "$@"; }
echo "== aqueduct hardware"
ours "${AQUEDUCT:-$bin/aqueduct}" hardware | tee "$out/hardware.txt"
ours "${AQUEDUCT:-$bin/aqueduct}" hardware --json >"$out/hardware.json"
echo "== streams"
exec python3 "$here/measure.py" --aqueduct "${AQUEDUCT:-$bin/aqueduct}" --ffmpeg "$([ -x "$bin/ffmpeg" ] && echo "$bin/ffmpeg" || command -v ffmpeg)" \
  --libraries "$lib" --clip "$clip" --backend "$backend" --streams "$streams" --seconds "$seconds" --out "$out"
