# Shared by the scripts: Debian packages, builds, spec files. To be sourced by bash.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# shellcheck disable=SC2034 # used by the scripts that source this
build_packages=(gcc libc6-dev cmake ninja-build pkg-config liblua5.4-dev libuv1-dev libc-ares-dev libsodium-dev
  libgcrypt20-dev libisal-dev libsnappy-dev libcjson-dev libhttp-parser-dev libjs-dygraphs)

# shellcheck disable=SC2034 # as above
run_packages=(liblua5.4-0 libuv1 libc-ares2 libsodium23 libgcrypt20 libisal2 libsnappy1v5 libcjson1 libhttp-parser2.9)

die() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 1
}

# need PACKAGE...: installs missing packages, as root or with sudo; does not use the network if none is missing.
need() {
  local missing=() package
  command -v dpkg-query >/dev/null || {
    echo "not a Debian system: assuming these packages are installed: $*" >&2
    return 0
  }
  for package in "$@"; do
    case $(dpkg-query -W -f='${db:Status-Status} ' "$package" 2>/dev/null) in
      *installed\ *) ;;
      *) missing+=("$package") ;;
    esac
  done
  ((${#missing[@]})) || return 0
  local as_root=()
  if ((EUID != 0)); then
    command -v sudo >/dev/null || die "missing packages, and neither root nor sudo: apt-get install ${missing[*]}"
    as_root=(sudo)
  fi
  echo "installing: ${missing[*]}"
  "${as_root[@]}" apt-get update -qq
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# build DIR PRESET TARGETS [CMAKE-OPTION...]: configures DIR with a preset, once, and builds TARGETS ("" for all) incrementally.
build() {
  local dir=$1 preset=$2 targets=$3
  shift 3
  cd "$root" || return
  if [[ ! -f $dir/CMakeCache.txt ]]; then
    cmake --preset "$preset" -B "$dir" -G Ninja "$@" || {
      rm -f "$dir/CMakeCache.txt"
      return 1
    }
  fi
  # shellcheck disable=SC2086 # word splitting is intended
  cmake --build "$dir" --parallel "$(nproc)" ${targets:+--target $targets}
}

# spec_file DIR FILE: runs busted on one spec file, with the build in DIR, for at most 15 minutes. Specs that load C modules need the
# interpreter from the same build; those that drive kt from outside use the system's. With the sanitizers, heavy specs do less.
spec_file() {
  local dir=$root/$1 file=$2 lua=$root/$1/spec/spec-lua sanitized=()
  if [[ $1 == *asan ]]; then
    sanitized=(KT_SPEC_LIGHT=1 ASAN_OPTIONS=detect_leaks=1:abort_on_error=0 UBSAN_OPTIONS=print_stacktrace=1)
  fi
  if grep -q 'require "harness"' "$file"; then lua=lua5.4; fi
  env "${sanitized[@]}" KT_BIN="$dir/kt" KT_BUILD="$dir" LUA_CPATH="$dir/spec/?.so;$dir/lua/?.so;;" \
    LUA_PATH="./spec/support/?.lua;./?.lua;;" timeout 900 "$lua" /usr/bin/busted -o plainTerminal "$file"
}
