#!/usr/bin/env bash
# One origin that pushes itself a clock picture, and two edges that it feeds, on this machine: `make demo-edge`.
# Usage: scripts/demo-edge.sh PROGRAM [flags of `aqueduct demo`]
set -euo pipefail
program=$1
shift
dir=$(mktemp -d)
pids=()
stop() {
  trap - EXIT INT TERM
  kill "${pids[@]}" 2>/dev/null || true
  wait 2>/dev/null || true
  rm -rf "$dir"
}
trap stop EXIT
trap 'exit 0' INT TERM

start() { # NAME ARGUMENTS…
  local name=$1
  shift
  "$program" "$@" --log warn --set "data_dir=$dir/$name" >"$dir/$name.log" 2>&1 &
  pids+=($!)
}

ready() { # NAME ADMIN_PORT
  for _ in $(seq 100); do
    curl -fs "http://127.0.0.1:$2/readyz" >/dev/null 2>&1 && return
    sleep 0.1
  done
  cat "$dir/$1.log" >&2
  exit 1
}

start origin demo --set relay.listen=127.0.0.1:4443 "$@"
for edge in 1 2; do
  start "edge-$edge" edge --origin 127.0.0.1:4443 --set "relay.node=edge-$edge" --set "edge.http.listen=0.0.0.0:809$edge" \
    --set edge.https.listen=off --set "admin.listen=127.0.0.1:819$edge"
done
ready origin 8081
ready edge-1 8191
ready edge-2 8192
cat <<TEXT

  Origin   http://localhost:8080/watch/live/show
  Edge 1   http://localhost:8091/watch/live/show
  Edge 2   http://localhost:8092/watch/live/show

  What goes between them:  curl -s http://localhost:8191/metrics | grep aqueduct_relay
  Ctrl-C stops all three.

TEXT
wait -n "${pids[@]}" || { tail -n 5 "$dir"/*.log >&2; exit 1; }
