# shellcheck shell=bash
# Sourced by every test after diag.sh: servers to write to, and checks of what the plugin wrote there and logged. Tests are started by
# run.sh, which sets OMVALKEYAUDIT_SO, OMVALKEYAUDIT_STORE, STORE_FOLDER (a folder for the servers) and EVIDENCE.
#
# A "store" is a server of the test's own, known by a name. Helpers work on the one that STORE names, "store" when it is not set:
#   start_store; STORE=second start_store; STORE=second store_cli PING

: "${OMVALKEYAUDIT_SO:?start tests with run.sh}"
declare -A store_pids=()

# What diag.sh's generate_conf asks for, but no test here uses; its own way to find one needs Python.
get_free_port() { echo 0; }

# A valgrind that is killed would leave its debugger's pipes in /tmp.
export RS_TESTBENCH_VALGRIND_EXTRA_OPTS="${RS_TESTBENCH_VALGRIND_EXTRA_OPTS:-} --vgdb=no"
# What rsyslog's own list is meant to have, and does not match where libc has its symbols.
EXTRA_VALGRIND_SUPPRESSIONS="${EXTRA_VALGRIND_SUPPRESSIONS:-} --suppressions=$(realpath "$(dirname "${BASH_SOURCE[0]}")/../rsyslogd.supp")"
export EXTRA_VALGRIND_SUPPRESSIONS

# fail_test SENTENCE: ends the test as failed.
fail_test() {
  printf 'FAIL: %s\n' "$1"
  error_exit 1
}

# wait_until SENTENCE COMMAND...: polls the command until it succeeds.
wait_until() {
  local what=$1 end=$((SECONDS + TB_TEST_MAX_RUNTIME))
  shift
  printf '%s waiting until %s\n' "$(tb_timestamp)" "$what"
  until "$@"; do
    [ "$SECONDS" -lt "$end" ] || fail_test "gave up waiting until $what"
    sleep 0.05
  done
}

# --- servers --------------------------------------------------------------------------------------------------------------------

# store_socket: the unix socket of the store; a parameter's value is server="unix:$(store_socket)".
store_socket() { printf '%s/%s.sock' "$STORE_FOLDER" "${STORE:-store}"; }

# store_cli COMMAND...: what redis-cli prints for the command. STORE_PASSWORD is used where set.
store_cli() {
  [ -z "${STORE_PASSWORD:-}" ] || local -x REDISCLI_AUTH=$STORE_PASSWORD
  "$store_client" -s "$(store_socket)" "$@"
}
store_client=${OMVALKEYAUDIT_STORE%-server}-cli

store_answers() { [ "$(store_cli PING 2>/dev/null)" = PONG ]; }

# start_store [OPTION...]: starts the server and returns when it answers. Its data outlives stop_store and kill_store: every confirmed
# write has left the process, so that killing it loses nothing that it confirmed.
start_store() {
  local name=${STORE:-store}
  mkdir -p "$STORE_FOLDER/$name"
  rm -f "$(store_socket)"
  "$OMVALKEYAUDIT_STORE" --port 0 --unixsocket "$(store_socket)" --dir "$STORE_FOLDER/$name" --save '' --appendonly yes \
    --appendfsync no --loglevel notice "$@" >>"$STORE_FOLDER/$name.log" 2>&1 &
  store_pids[$name]=$!
  wait_until "the server $name answers" store_answers
}

# end_store SIGNAL: sends the signal and waits for the end.
end_store() {
  local name=${STORE:-store}
  [ -n "${store_pids[$name]:-}" ] || return 0
  # A paused process takes notice of TERM only when it goes on.
  kill -CONT "${store_pids[$name]}" 2>/dev/null
  kill -"$1" "${store_pids[$name]}" 2>/dev/null
  wait "${store_pids[$name]}" 2>/dev/null
  unset "store_pids[$name]"
}
stop_store() { end_store TERM; }
kill_store() { end_store KILL; }

# pause_store, continue_store: the server stops answering, with its connections open, and goes on.
pause_store() { kill -STOP "${store_pids[${STORE:-store}]}"; }
continue_store() { kill -CONT "${store_pids[${STORE:-store}]}"; }

# store_has COUNT KEY: whether the stream has at least that many entries.
store_has() {
  local count
  count=$(store_cli XLEN "$2" 2>/dev/null)
  [[ $count =~ ^[0-9]+$ ]] && [ "$count" -ge "$1" ]
}

# watch_flushes: from now on the server tells each command it executes. flushes_of COUNT: how many transactions had that many XADD;
# without COUNT, how many had any. (A login is a transaction without; the XADD with NOMKSTREAM before it only asks for the right.)
watch_flushes() {
  store_cli MONITOR >monitor.out 2>&1 &
  wait_until "the server tells what it executes" grep -qx OK monitor.out
}
flushes_of() {
  awk -v wanted="${1:-any}" '
    function is_wanted() { return records > 0 && (wanted == "any" || records == wanted) }
    toupper($0) ~ /"MULTI"$/ { flushes += is_wanted(); records = 0 }
    toupper($0) ~ / "XADD" / && toupper($0) !~ / "NOMKSTREAM" / { records++ }
    END { print flushes + is_wanted() }' monitor.out
}

# wait_records COUNT [KEY]: waits for that many entries.
wait_records() { wait_until "the stream ${2:-audit} has $1 entries" store_has "$1" "${2:-audit}"; }

# all_delivered: for QUEUE_EMPTY_CHECK_FUNC, which shutdown_when_empty asks beside the queues' sizes: those are 0 while the last batch
# is still in the plugin's hands.
all_delivered() { wait_records "$NUMMESSAGES" audit; }

# --- rsyslogd -------------------------------------------------------------------------------------------------------------------

# For an action with a queue of its own. A worker gets 10 ms to end when queue.timeoutShutdown is not given (diag.sh's global default does
# not reach action queues in 8.2302); then it is cancelled, and with the testbench's debug output on, a worker that is cancelled just
# before its end leaves rsyslogd waiting for it for ever. Under valgrind 10 ms are not enough.
# shellcheck disable=SC2034 # the tests use it
own_queue='queue.type="linkedlist" queue.size="200000" queue.timeoutShutdown="20000"
  action.resumeRetryCount="-1" action.resumeInterval="1"'

# rsyslogd's own messages, the plugin's among them, arrive in this file.
plugin_log() { printf '%s.started' "$RSYSLOG_DYNNAME"; }

# startup is diag.sh's, with one thing added: rsyslogd goes on when a module cannot be loaded, so it is looked at whether it was.
eval "rsyslog_$(declare -f startup)"
startup() {
  rsyslog_startup "$@"
  grep -qF "$OMVALKEYAUDIT_SO" "/proc/$(getpid)/maps" || {
    cat "$(plugin_log)"
    fail_test "rsyslogd did not load $OMVALKEYAUDIT_SO"
  }
}

# check_config: what rsyslogd -N1 says of the configuration goes to the file config.out; returns rsyslogd's verdict.
check_config() {
  ../tools/rsyslogd -C -N1 -M../runtime/.libs:../.libs -f"$TESTCONF_NM.conf" >config.out 2>&1
  local verdict=$?
  cat config.out
  return "$verdict"
}

# What a test started ends with it, however it ends: rsyslogd and the servers are children of this shell.
end_processes() {
  local pid
  for pid in $(jobs -p); do kill -KILL "$pid" 2>/dev/null; done
  wait 2>/dev/null # the shell's own words about each killed one
}
trap end_processes EXIT

# --- checks ---------------------------------------------------------------------------------------------------------------------

# Each check that found what the plugin must have written says so here; run.sh fails a test without any.
evidence() {
  printf '%s\n' "$1"
  printf '%s\n' "$1" >>"$EVIDENCE"
}

# stream_values KEY: the value of each entry, for entries of one field each.
stream_values() { store_cli XRANGE "$1" - + | awk 'NR % 3 == 0'; }

# member_of KEY FIELD: the field's value in each entry, for entries of any fields with values of one line.
member_of() { store_cli XRANGE "$1" - + | awk -v field="$2" 'found { print; found = 0; next } $0 == field { found = 1 }'; }

# check_numbers FIRST LAST [KEY] [any-order]: the stream has each number exactly once and nothing else, in order unless any-order is
# given.
check_numbers() {
  local key=${3:-audit} entries
  entries=$(store_cli XLEN "$key")
  stream_values "$key" | awk -v first="$1" -v last="$2" -v order="${4:-in-order}" -v entries="$entries" '
    !/^[0-9]+$/ { strange++; if (strange == 1) print "not a number: " $0; next }
    { number = $1 + 0 }
    number < first || number > last { strange++; next }
    count[number]++ { doubled++; next }
    order == "in-order" && number < previous { disordered++ }
    { previous = number }
    END {
      lost = 0
      for (n = first; n <= last; n++) if (!(n in count)) { lost++; if (lost == 1) print "first lost: " n }
      printf "%d entries, %d lost, %d doubled, %d out of order, %d others\n", NR, lost, doubled, disordered, strange
      exit lost + doubled + disordered + strange > 0 || NR != entries || NR == 0
    }' || fail_test "the stream $key does not have each number from $1 to $2 exactly once"
  evidence "the stream $key has each number from $1 to $2 exactly once"
}

# check_same WHAT EXPECTED FOUND
check_same() {
  [ "$2" = "$3" ] || fail_test "$1: expected \"$2\", found \"$3\""
  evidence "$1: $3"
}

# log_has TEXT: whether a line of the plugin has the text.
log_has() { grep -F 'omvalkeyaudit' "$(plugin_log)" | grep -qF -- "$1"; }

wait_log() { wait_until "the plugin's log has \"$1\"" log_has "$1"; }

check_log() {
  log_has "$1" || {
    cat "$(plugin_log)"
    fail_test "the plugin logged no line with \"$1\""
  }
  evidence "the log has \"$1\""
}

# log_count TEXT: how many lines of the plugin have the text.
log_count() { grep -F 'omvalkeyaudit' "$(plugin_log)" | grep -cF -- "$1"; }

# check_log_without TEXT: no line of rsyslogd has the text.
check_log_without() {
  ! grep -F -- "$1" "$(plugin_log)" || fail_test "the log must not have \"$1\""
}

# check_refused TEXT...: rsyslogd -N1 refuses the configuration, and one of its lines comes from the plugin and has all the texts.
check_refused() {
  ! check_config || fail_test "rsyslogd accepted a configuration it must refuse"
  local text
  cp config.out refused.out
  for text in omvalkeyaudit "$@"; do
    grep -F -- "$text" refused.out >narrowed.out || fail_test "no line of the refusal has all of: omvalkeyaudit $*"
    mv narrowed.out refused.out
  done
  evidence "refused: $(head -n 1 refused.out)"
}
