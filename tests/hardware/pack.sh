#!/usr/bin/env bash
# Packs what tests/hardware/run.sh needs for a bare machine: the program, ffmpeg, their libraries, and a clip.
# Usage: tests/hardware/pack.sh OUT [AQUEDUCT]   (OUT/bundle.tar.xz; AQUEDUCT defaults to target/release/aqueduct)
#
# Distributions build libav with a hundred libraries (SVG, speech, ICU, …), 240 MB of them, of which decoding H.264 and
# encoding with libx264 calls none. Those are packed as stubs: the same names and symbols that do nothing.
set -euo pipefail
cd "$(dirname "$0")/../.."
out=$(mkdir -p "$1" && cd "$1" && pwd)
program=${2:-target/release/aqueduct}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/bundle/bin" "$work/bundle/lib" "$work/stub"

# Of the machine itself: the C library and its parts.
of_system='/(ld-linux[^/]*|libc|libm|libdl|librt|libpthread|libresolv)\.so'
# Really called, or small and close to those that are.
kept='/(libav[a-z]*|libsw[a-z]*|libpostproc|libx264|libx265|libaom|libvpx|libdav1d|libstdc\+\+|libgcc_s|libnuma|libz|libva[a-z0-9-]*|libdrm|libmfx|libOpenCL|libmp3lame|libopus|libssl|libcrypto)\.so'

strip -o "$work/bundle/bin/aqueduct" "$program"
cp -L "$(command -v ffmpeg)" "$work/bundle/bin/ffmpeg"
libraries=$(ldd "$work"/bundle/bin/* | awk '$2 == "=>" {print $3}' | sort -u | grep -Ev "$of_system")
for library in $(grep -E "$kept" <<<"$libraries"); do cp -L "$library" "$work/bundle/lib/"; done

wanted="$work/wanted"
for file in "$work"/bundle/bin/* "$work"/bundle/lib/*; do nm -D --undefined-only "$file"; done |
  awk '{sub(/@@/, "@", $NF); print $NF}' | sort -u >"$wanted"
for library in $(grep -Ev "$kept" <<<"$libraries"); do
  name=$(basename "$library")
  # Symbol, kind and version; the dynamic linker insists on versions where there were some.
  nm -D --defined-only "$library" | awk '{sub(/@@/, "@", $3); print $3, $2}' | sort -u -k 1,1 | join - "$wanted" |
    awk '{split($1, part, "@"); print part[1], $2, part[2]}' | sort -u -k 1,1 >"$work/stub/symbols"
  awk '$2 ~ /[TWi]/ {print "long " $1 "(void) {return 0;}"; next} {print "char " $1 "[65536];"}' \
    "$work/stub/symbols" >"$work/stub/stub.c"
  awk '$3 != "" {all[$3] = all[$3] $1 "; "} END {for (v in all) print v " { global: " all[v] "};"}' \
    "$work/stub/symbols" >"$work/stub/versions"
  script=()
  [ -s "$work/stub/versions" ] && script=(-Wl,--version-script="$work/stub/versions")
  cc -w -shared -fPIC -nostdlib -fno-builtin -Wl,-soname,"$name" "${script[@]}" -o "$work/bundle/lib/$name" "$work/stub/stub.c"
done

# Ten seconds of real footage as 1080p30, a keyframe a second, as an encoder would push it.
ffmpeg -v error -stream_loop 1 -i tests/media/bigbuckbunny.mp4 -t 10 -vf scale=1920:1080:flags=bicubic,fps=30 -c:v libx264 \
  -preset veryfast -profile:v high -bf 0 -g 30 -sc_threshold 0 -b:v 5M -maxrate 6M -bufsize 6M -c:a aac -ac 2 -b:a 128k \
  -y "$work/bundle/clip.flv"
tar -C "$work" -c bundle | xz -T0 -6 >"$out/bundle.tar.xz"
ls -l "$out/bundle.tar.xz"
