#!/bin/bash
# build.sh: builds rsyslog 8.2302 with its testbench from the source that `tests/setup.sh testbench` fetches, once, in
# target/host/testbench-8.2302/ (below OMVALKEYAUDIT_HOST_DIR, where that is set). A second run finds it built.
# The source is built from outside: its folder stays as it was unpacked, because the plugin is compiled with its headers and must not
# meet this build's config.h there.
set -euo pipefail

host=$(realpath -m "${OMVALKEYAUDIT_HOST_DIR:-$(dirname "${BASH_SOURCE[0]}")/../../target/host}")
source=$host/rsyslog-8.2302
build=$host/testbench-8.2302

fail() {
  echo "build.sh: $1" >&2
  exit 1
}

[ ! -e "$build/built" ] || exit 0
[ -x "$source/configure" ] || fail "rsyslog's source is not in $source; run tests/setup.sh testbench"

exec 9>"$host/.lock-testbench"
flock 9
[ ! -e "$build/built" ] || exit 0
echo "building rsyslog 8.2302 with its testbench; this takes about half a minute"
rm -rf "$build"
mkdir -p "$build"
cd "$build"

run() {
  "$@" >"$build/build.log" 2>&1 || {
    tail -n 30 "$build/build.log" >&2
    fail "building rsyslog's testbench failed at: $*; all of its words are in $build/build.log"
  }
}

# imdiag and omstdout are the testbench's own needs. All that is switched off would want further packages.
run "$source/configure" --enable-testbench --enable-imdiag --enable-omstdout --enable-impstats --enable-imptcp --enable-imfile \
  --disable-generate-man-pages --disable-fmhttp --disable-liblogging-stdlog --disable-libgcrypt --disable-klog \
  --disable-libsystemd --disable-uuid
run make -j "$(nproc)"
# An empty list of tests builds the programs that tests use and runs none.
run make -j "$(nproc)" -C tests check TESTS=
touch built
