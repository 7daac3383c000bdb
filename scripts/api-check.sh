#!/usr/bin/env bash
# The document of /api/v1 beside a running server: schemathesis asks for everything in it, with what it allows and with
# what it does not. Usage: scripts/api-check.sh PROGRAM SCHEMATHESIS [flags of `schemathesis run`]
set -euo pipefail
cd "$(dirname "$0")/.."
program=$(realpath "$1")
schemathesis=$(realpath "$2")
shift 2
dir=$(mktemp -d)
stop() {
  trap - EXIT
  [ -z "${server:-}" ] || kill "$server" 2>/dev/null || true
  wait 2>/dev/null || true
  rm -rf "$dir"
}
trap stop EXIT

ports=$(python3 -c '
import socket
taken = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
print(*(one.getsockname()[1] for one in taken))')
read -r rtmp http admin <<<"$ports"
"$program" demo --log warn --set "data_dir=$dir/data" --set "ingest.rtmp.listen=127.0.0.1:$rtmp" --set "edge.http.listen=127.0.0.1:$http" \
  --set "admin.listen=127.0.0.1:$admin" --set edge.https.listen=off --set ingest.rtsp_server.listen= --set transcode.mode=off \
  >"$dir/log" 2>&1 &
server=$!
for _ in $(seq 150); do
  curl -fs "http://127.0.0.1:$admin/api/v1/streams/live/show" >/dev/null 2>&1 && break
  sleep 0.2
done

# A drain ends the server, and the live stream of events never ends. What makes a camera's address a good one cannot be
# said in a schema, so that good data by it may be refused. Most of what is drawn for a stream's name is one, so that few
# wrong ones are found: that says nothing of the server.
cd "$dir"
"$schemathesis" run "http://127.0.0.1:$admin/api/v1/openapi.json" --url "http://127.0.0.1:$admin" \
  --exclude-path /api/v1/drain --exclude-path '/api/v1/nodes/{node}/drain' \
  --exclude-path /api/v1/live --checks all --exclude-checks positive_data_acceptance --suppress-health-check filter_too_much "$@" || { code=$?; tail -n 5 "$dir/log" >&2; exit $code; }
kill -0 "$server" || { echo "the server has ended" >&2; exit 1; }
