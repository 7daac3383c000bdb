#!/usr/bin/env bash
# A real OBS, without a display, pushes to a real server for a minute, and a real Chromium plays it.
# Prints what OBS said and what the player saw; exits 1 unless it played without a stall.
# Usage: tests/obs/run.sh [SECONDS]   (needs: make build; scripts/setup.sh obs)
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds=${1:-60}
clip=$PWD/tests/media/bigbuckbunny.mp4
work=$(mktemp -d)
rtmp=19735 http=19780 admin=19781

"${CARGO_TARGET_DIR:-target}/release/aqueduct" serve --set data_dir="$work/data" --set ingest.rtmp.listen=127.0.0.1:$rtmp \
  --set edge.http.listen=127.0.0.1:$http --set edge.https.listen=127.0.0.1:19743 \
  --set admin.listen=127.0.0.1:$admin >"$work/server.out" 2>"$work/server.log" &
server=$!
trap 'kill $server ${obs:-} 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$work"' EXIT
until curl -fs http://127.0.0.1:$admin/readyz >/dev/null; do
  kill -0 $server 2>/dev/null || { cat "$work/server.log"; exit 1; }
done

# OBS's own files, in a home of its own: its first-start wizard done, Simple output, one scene.
config=$work/home/.config/obs-studio profile=$config/basic/profiles/Check
mkdir -p "$profile" "$config/basic/scenes" "$work/run"
chmod 700 "$work/run"
cat >"$config/global.ini" <<X
[General]
FirstRun=true
Pre19Defaults=false
Pre21Defaults=false
Pre23Defaults=false
Pre24.1Defaults=false
LastVersion=486539266
EnableAutoUpdates=false
ConfirmOnExit=false
[Basic]
Profile=Check
ProfileDir=Check
SceneCollection=Check
SceneCollectionFile=Check
[BasicWindow]
WarnBeforeStartingStream=false
WarnBeforeStoppingStream=false
SysTrayEnabled=false
PreviewEnabled=false
[Video]
Renderer=OpenGL
X
cat >"$profile/basic.ini" <<X
[General]
Name=Check
[Video]
BaseCX=1280
BaseCY=720
OutputCX=1280
OutputCY=720
FPSType=0
FPSCommon=30
ColorFormat=NV12
[Output]
Mode=Simple
Reconnect=true
RetryDelay=1
MaxRetries=20
[SimpleOutput]
StreamEncoder=x264
VBitrate=2000
ABitrate=128
UseAdvanced=true
Preset=ultrafast
x264Settings=keyint=30 tune=zerolatency bframes=0
[Audio]
SampleRate=48000
ChannelSetup=Stereo
X
cat >"$profile/service.json" <<X
{"type":"rtmp_custom","settings":{"server":"rtmp://127.0.0.1:$rtmp/live","key":"obs","use_auth":false,"bwtest":false}}
X
cat >"$config/basic/scenes/Check.json" <<X
{"name":"Check","current_scene":"Scene","current_program_scene":"Scene","scene_order":[{"name":"Scene"}],"sources":[
{"id":"ffmpeg_source","versioned_id":"ffmpeg_source","name":"Film","settings":{"local_file":"$clip","looping":true,"is_local_file":true,"hw_decode":false,"restart_on_activate":true},"enabled":true,"volume":1.0,"mixers":255},
{"id":"scene","versioned_id":"scene","name":"Scene","settings":{"custom_size":false,"id_counter":1,"items":[
{"name":"Film","id":1,"visible":true,"pos":{"x":0.0,"y":0.0},"scale":{"x":1.0,"y":1.0},"align":5,"bounds_type":0,"rot":0.0}]},"enabled":true}
],"transitions":[],"quick_transitions":[],"current_transition":"Cut","transition_duration":300}
X
export LIBGL_ALWAYS_SOFTWARE=1 QT_QPA_PLATFORM=xcb
HOME=$work/home XDG_CONFIG_HOME=$work/home/.config XDG_RUNTIME_DIR=$work/run \
  timeout -s INT -k 10 $((seconds + 30)) xvfb-run -a -s '-screen 0 1280x720x24 +extension GLX' \
  obs --startstreaming --minimize-to-tray --multi --profile Check --collection Check --scene Scene \
  --disable-missing-files-check --verbose --unfiltered_log >"$work/obs.log" 2>&1 &
obs=$!

echo "waiting for OBS to be live"
deadline=$((SECONDS + 60))
until curl -fs http://127.0.0.1:$http/live/obs/index.m3u8 >/dev/null; do
  if ! kill -0 $obs || [ $SECONDS -ge $deadline ]; then
    echo "OBS did not come live"; tail -40 "$work/obs.log"; exit 1
  fi
  curl -s -o /dev/null "http://127.0.0.1:$http/live/obs/index.m3u8?_AQ_hold=1" || true
done
curl -fs http://127.0.0.1:$admin/api/v1/streams; echo
mkdir -p tests/out
node tests/browser/play.mjs --url "http://127.0.0.1:$http/watch/live/obs" --player page --seconds "$seconds" \
  --screenshot tests/out/obs.png | tee "$work/play.json"
grep -E 'Version:|rtmp stream|Number of|dropped' "$work/obs.log" | head -20 || true
node -e 'const r = JSON.parse(require("fs").readFileSync(process.argv[1])); if (r.stalls > 0 || r.playedSeconds < process.argv[2] * 0.9) { console.error("stalls or too little played"); process.exit(1) } console.log("OBS plays: 0 stalls in", r.playedSeconds.toFixed(1), "s")' "$work/play.json" "$seconds"
