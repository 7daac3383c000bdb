#!/usr/bin/env bash
# Installs what is missing on a Debian or Ubuntu machine and says what it does; with everything there it installs
# nothing. Usage: scripts/setup.sh build|demo|test|check|bench|fuzz|audit|sbom|api …
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'setup: %s\n' "$*" >&2; }

RUSTUP="curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y && . \"\$HOME/.cargo/env\""

need_rust() {
  local least
  least=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
  if ! command -v cargo >/dev/null 2>&1; then
    say "no Rust toolchain found. This one command brings it:"
  else
    local is
    is=$(rustc --version | cut -d ' ' -f 2)
    [ "$(printf '%s\n%s\n' "$least" "$is" | sort -V | head -n 1)" = "$least" ] && return
    say "Rust $is is too old; $least or newer is needed. This one command brings it:"
  fi
  echo "  $RUSTUP" >&2
  exit 1
}

need_component() { # COMMAND COMPONENT
  cargo "$1" --version >/dev/null 2>&1 && return
  say "cargo $1 is missing. This one command brings it:  rustup component add $2"
  exit 1
}

need_node() {
  local major
  major=$(node --version | sed 's/^v\([0-9]*\).*/\1/')
  [ "$major" -ge 18 ] && return
  say "Node $major is too old; 18 or newer is needed (Debian 12 and Ubuntu 24.04 carry it)"
  exit 1
}

# A Debian package counts as there when the command it is wanted for is.
missing=()
want() { # COMMAND PACKAGE…
  command -v "$1" >/dev/null 2>&1 || missing+=("${@:2}")
}

# The same of servers, which are not on everybody's path.
want_sbin() { # COMMAND PACKAGE…
  [ -x "/usr/sbin/$1" ] || want "$@"
}

# GStreamer's RTSP server and its elements, as the tests' RTSP server wants them.
GST_ELEMENTS=(base good bad ugly)
want_gstreamer() {
  want gst-launch-1.0 gstreamer1.0-tools
  compgen -G '/usr/lib/*/girepository-1.0/GstRtspServer-1.0.typelib' >/dev/null ||
    missing+=(python3-gi gir1.2-gst-rtsp-server-1.0 gir1.2-gst-plugins-base-1.0 gstreamer1.0-libav gstreamer1.0-rtsp
      "${GST_ELEMENTS[@]/#/gstreamer1.0-plugins-}")
}

want_module() { # MODULE PACKAGE: a library with its headers, as pkg-config knows it
  command -v pkg-config >/dev/null 2>&1 && pkg-config --exists "$1" || missing+=("$2")
}

# Debian's Python comes without what makes a virtual environment.
want_venv() {
  python3 -c 'import ensurepip, venv' >/dev/null 2>&1 || missing+=(python3-venv)
}

# Bindings to libav are made while building, by libclang; its own headers come with clang.
want_libclang() {
  [ -n "${LIBCLANG_PATH:-}" ] && return
  compgen -G '/usr/lib/llvm-*/lib/libclang*.so*' >/dev/null || compgen -G '/usr/lib/*/libclang*.so*' >/dev/null ||
    compgen -G '/usr/lib64/libclang*.so*' >/dev/null || missing+=(libclang-dev)
}

LIBAV=(libavcodec libavformat libavfilter libavutil libswscale libswresample)
want_libav() {
  want pkg-config pkg-config
  want clang clang
  want_libclang
  local module
  for module in "${LIBAV[@]}"; do want_module "$module" "$module-dev"; done
}

# What is packaged may be too old: Ubuntu 22.04 carries FFmpeg 4.4.
need_libav() {
  pkg-config --exists 'libavcodec >= 59.37' && return
  say "libavcodec $(pkg-config --modversion libavcodec 2>/dev/null || echo '(none)') is too old; FFmpeg 5.1 or newer is needed"
  say "Debian 12 and Ubuntu 24.04 carry it; elsewhere build it and point PKG_CONFIG_PATH at it"
  exit 1
}

# Debian carries Chromium as a package. Ubuntu carries a snap under that name, so playwright brings its own there.
playwright_chromium=
want_chromium() {
  [ -n "${CHROMIUM:-}" ] || command -v chromium >/dev/null 2>&1 || command -v google-chrome >/dev/null 2>&1 && return
  if grep -q '^ID=ubuntu' /etc/os-release; then playwright_chromium=1; else missing+=(chromium); fi
}

install_chromium() {
  [ -n "$playwright_chromium" ] || return 0
  (cd tests/browser && node -e 'process.exit(require("fs").existsSync(require("playwright-core").chromium.executablePath()) ? 0 : 1)') && return
  say "installing Chromium with playwright"
  (cd tests/browser && npx playwright-core install --with-deps chromium)
}

install_packages() {
  [ ${#missing[@]} -eq 0 ] && return
  if ! command -v apt-get >/dev/null 2>&1; then
    say "these are missing, and apt-get is not here to install them (names as on Debian): ${missing[*]}"
    case " ${missing[*]} " in
      *libav* | *libsw* | *clang*)
        say "  Fedora: clang-devel pkgconf ffmpeg-devel (of RPM Fusion)   Arch: clang pkgconf ffmpeg   macOS: brew install pkgconf ffmpeg" ;;
    esac
    exit 1
  fi
  local sudo=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null 2>&1 || { say "these are missing; install them as root: ${missing[*]}"; exit 1; }
    sudo=(sudo)
  fi
  say "installing: ${missing[*]}"
  "${sudo[@]}" apt-get update -qq
  DEBIAN_FRONTEND=noninteractive "${sudo[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# Front-end packages by lock file; a stamp of the lock says whether they are the right ones.
npm_packages() { # FOLDER
  local stamp="$1/node_modules/.lock-stamp"
  cmp -s "$1/package-lock.json" "$stamp" && return
  say "installing the packages of $1/package-lock.json"
  (cd "$1" && npm ci --no-audit --no-fund --loglevel=error)
  cp "$1/package-lock.json" "$stamp"
}

cargo_tool() { # COMMAND VERSION [FLAG…]
  local name=$1 version=$2
  shift 2
  command -v "$name" >/dev/null 2>&1 && return
  say "installing $name $version from crates.io (about two minutes)"
  # Unoptimised: it runs for a second, and takes half as long to build.
  CARGO_PROFILE_DEV_DEBUG=0 cargo install --quiet --locked --debug "$name@$version" "$@"
}

# A tool of PyPI, in a folder of its own beside what is built.
python_tool() { # COMMAND PACKAGE VERSION
  local folder="${CARGO_TARGET_DIR:-target}/$1"
  [ -x "$folder/bin/$1" ] && "$folder/bin/$1" --version | grep -qF "$3" && return
  say "installing $2 $3 from PyPI"
  python3 -m venv "$folder"
  "$folder/bin/pip" install --quiet --disable-pip-version-check "$2==$3"
}

for goal in "$@"; do
  case $goal in
    build) want cc build-essential; want node nodejs; want npm npm; want_libav ;;
    demo) want ffmpeg ffmpeg ;;
    test) want ffmpeg ffmpeg; want_chromium; want_sbin nats-server nats-server; want_sbin nginx nginx; want_gstreamer; want ip iproute2 ;;
    check) want_venv ;;
    fuzz) ;;
    audit | sbom) want npm npm ;;
    api) want python3 python3; python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv); want curl curl ;;
    bench) want ffmpeg ffmpeg; want nginx nginx libnginx-mod-rtmp; want wrk wrk ;;
    obs) want obs obs-studio obs-plugins; want xvfb-run xvfb xauth libgl1-mesa-dri; want ffmpeg ffmpeg; want chromium chromium ;;
    *) say "unknown goal $goal"; exit 2 ;;
  esac
done
need_rust
install_packages
for goal in "$@"; do
  case $goal in
    build) need_node; need_libav; npm_packages web ;;
    test | obs) npm_packages tests/browser; install_chromium ;;
    check) need_component fmt rustfmt; need_component clippy clippy; cargo_tool cargo-deny 0.20.2 --no-default-features ;;
    fuzz) cargo_tool cargo-fuzz 0.13.2 ;;
    audit) cargo_tool cargo-deny 0.20.2 --no-default-features; cargo_tool cargo-audit 0.22.2 ;;
    api) python_tool schemathesis schemathesis 4.32.5 ;;
    sbom) cargo_tool cargo-cyclonedx 0.5.9 ;;
  esac
done
