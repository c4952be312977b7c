#!/bin/bash
# run.sh [TEST...]: runs the plugin's tests in rsyslog's own testbench: all of them, or those named (`basic` for
# omvalkeyaudit-basic.sh). Prints one line per test and a summary; fails when a test failed or when none ran.
#
#   OMVALKEYAUDIT_SO        the plugin to test; target/release/omvalkeyaudit.so, as `make` builds it, when not set
#   OMVALKEYAUDIT_STORE     the server to test with: redis-server, valkey-server or a path; redis-server when not set
#   TEST_MAX_RUNTIME        seconds a test may take; 120 when not set, 300 under valgrind
#
# Each test has a folder of its own, in which it starts its own rsyslogd and servers; it ends them on its way out.
set -euo pipefail

testbench=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
target=$(realpath -m "$testbench/../../target")
host=$(realpath -m "${OMVALKEYAUDIT_HOST_DIR:-$target/host}")
build=$host/testbench-8.2302
logs=$target/testbench

fail() {
  echo "run.sh: $1" >&2
  exit 1
}

OMVALKEYAUDIT_SO=$(realpath -m "${OMVALKEYAUDIT_SO:-$target/release/omvalkeyaudit.so}")
OMVALKEYAUDIT_STORE=${OMVALKEYAUDIT_STORE:-redis-server}
export OMVALKEYAUDIT_SO OMVALKEYAUDIT_STORE
[ -f "$OMVALKEYAUDIT_SO" ] || fail "the plugin is not at $OMVALKEYAUDIT_SO; build it with make, or name it in OMVALKEYAUDIT_SO"
command -v "$OMVALKEYAUDIT_STORE" >/dev/null ||
  fail "the server $OMVALKEYAUDIT_STORE cannot be run; run tests/setup.sh testbench, or name another in OMVALKEYAUDIT_STORE"
"$testbench/build.sh"

tests=()
for name in "$@"; do
  name=$(basename "$name" .sh)
  file=$testbench/omvalkeyaudit-${name#omvalkeyaudit-}.sh
  [ -f "$file" ] || fail "there is no test named $name; see $testbench/omvalkeyaudit-*.sh"
  tests+=("$file")
done
[ $# -gt 0 ] || tests=("$testbench"/omvalkeyaudit-*.sh)

# What rsyslog's diag.sh expects around a test's working folder: ../tools, ../runtime and ../plugins of the build, and beside the test
# the testbench's programs.
work=
make_folder() {
  work=$(mktemp -d "${TMPDIR:-/tmp}/omvalkeyaudit.XXXXXX")
  mkdir "$work/tests" "$work/stores"
  ln -s "$build/tools" "$build/runtime" "$build/plugins" "$work/"
  ln -s "$build"/tests/{chkseq,diagtalker,msleep,test_id,set-envvars} "$work/tests/"
}

running=
end_run() {
  [ -z "$running" ] || kill "$running" 2>/dev/null || true
  [ -z "$running" ] || wait "$running" || true
  [ -z "$work" ] || rm -rf "$work"
}
trap end_run EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# run_test FILE LOG: 0 when the test passed. timeout puts the test and all it starts into one process group and ends that group
# when the test does not end by itself.
run_test() {
  local status=0 limit=${TEST_MAX_RUNTIME:-120}
  case $1 in *-vg.sh) limit=${TEST_MAX_RUNTIME:-300} ;; esac
  make_folder
  cd "$work/tests"
  TEST_MAX_RUNTIME=$limit TESTTOOL_DIR=. srcdir=$host/rsyslog-8.2302/tests STORE_FOLDER=$work/stores EVIDENCE=$work/evidence \
    timeout --kill-after=10 "$((limit + 30))" bash "$1" >"$2" 2>&1 </dev/null &
  running=$!
  wait "$running" || status=$?
  running=
  cd "$testbench"
  # A test that looked at nothing the plugin wrote has proved nothing, e.g. when rsyslogd went on without the plugin.
  if [ "$status" -eq 0 ] && [ ! -s "$work/evidence" ]; then
    echo "run.sh: the test ended well, but checked no output of the plugin" >>"$2"
    status=1
  fi
  rm -rf "$work"
  work=
  return "$status"
}

mkdir -p "$logs"
passed=0
failed=0
for file in "${tests[@]}"; do
  name=$(basename "$file" .sh)
  name=${name#omvalkeyaudit-}
  log=$logs/$name.log
  start=$SECONDS
  if run_test "$file" "$log"; then
    passed=$((passed + 1))
    echo "PASS $name $((SECONDS - start))"
  else
    failed=$((failed + 1))
    echo "FAIL $name $((SECONDS - start))"
    echo "     the end of $log:"
    tail -n 40 "$log" | sed 's/^/     | /'
  fi
done

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
