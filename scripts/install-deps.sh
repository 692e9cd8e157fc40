#!/usr/bin/env bash
# Installs what building, the demo or the tests need and this machine does not have.
#
#   scripts/install-deps.sh build|demo|test
#
# A need is judged by what it gives (a command, a pkg-config module, a file), not by a package's name, so that what
# came here another way counts. When nothing is missing, nothing is asked of the network.
set -euo pipefail

missing=()

# need PACKAGE CHECK...: notes the Debian package if the check fails.
need() {
  local package=$1
  shift
  "$@" >/dev/null 2>&1 || missing+=("$package")
}

any_file() { compgen -G "$1" || { [ $# -gt 1 ] && shift && any_file "$@"; }; }
# Debian keeps what is meant for root alone in a folder that others do not look into.
has() { command -v "$1" || [ -x "/usr/sbin/$1" ]; }

# bindgen reads libav's headers through libclang, which needs its own stddef.h and the like.
has_libclang() {
  [ -n "${LIBCLANG_PATH:-}" ] && return
  any_file '/usr/lib/llvm-*/lib/libclang.so*' '/usr/lib/*/libclang-[0-9]*.so*' \
    && any_file '/usr/lib/llvm-*/lib/clang/*/include/stddef.h' '/usr/lib/clang/*/include/stddef.h'
}

needs_of_build() {
  need gcc has cc
  need g++ has c++
  need libc6-dev any_file '/usr/include/stdlib.h'
  need pkg-config has pkg-config
  need libclang-dev has_libclang
  local module
  for module in libavformat libavcodec libavutil libswresample; do
    need "$module-dev" pkg-config --exists "$module"
  done
}

needs_of_demo() {
  needs_of_build
  need ca-certificates any_file '/etc/ssl/certs/ca-certificates.crt'
  need curl has curl
  need ffmpeg has ffmpeg
  need espeak-ng has espeak-ng
  need python3 has python3
}

needs_of_test() {
  needs_of_demo
  need openssl has openssl
  need sox has sox
  need strace has strace
  need flac has flac
  need opus-tools has opusinfo
  need vorbis-tools has vorbiscomment
  need nodejs has node
  need npm has npm
  need python3-venv python3 -c 'import ensurepip, venv'
  need nginx-light has nginx
  need postgresql any_file '/usr/lib/postgresql/*/bin/initdb'
}

# as_root COMMAND...
as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  elif has sudo >/dev/null; then
    sudo "$@"
  else
    echo "To install packages, run this as root or install sudo." >&2
    exit 1
  fi
}

install_missing() {
  [ ${#missing[@]} -eq 0 ] && return
  if ! has apt-get >/dev/null; then
    echo "Missing here, by Debian's names: ${missing[*]}" >&2
    echo "Packages are installed by themselves on Debian and Ubuntu only: install these your system's way, then try again." >&2
    exit 1
  fi
  echo "Installing ${missing[*]}"
  as_root apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

check_rust() {
  if ! has cargo >/dev/null; then
    echo "There is no Rust toolchain here: install one from https://rustup.rs and try again." >&2
    exit 1
  fi
  [ "$1" != test ] && return
  local component
  for component in clippy rustfmt; do
    "cargo-${component/rustfmt/fmt}" --version >/dev/null 2>&1 || rustup component add "$component"
  done
}

case "${1:-}" in
  build | demo | test) ;;
  *)
    echo "usage: $0 build|demo|test" >&2
    exit 2
    ;;
esac
check_rust "$1"
"needs_of_$1"
install_missing
