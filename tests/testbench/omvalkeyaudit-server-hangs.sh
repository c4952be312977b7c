#!/bin/bash
# The server stops answering in the middle of a commit, with its connections open: the call gives up at its deadline, and when the server
# goes on, what it makes of the old connection's commands and of the new attempt is each record once, in order.
# Oracle: the numbers in the stream after five rounds; the plugin's line about each one, which appears while the server hangs.
. "${srcdir:=.}/diag.sh" init
. "$(dirname "$0")/valkey.sh"
export NUMMESSAGES=6000 QUEUE_EMPTY_CHECK_FUNC=all_delivered
start_store
generate_conf
add_conf '
module(load="'"$OMVALKEYAUDIT_SO"'")
template(name="number" type="string" string="{\"n\":\"%msg:F,58:2%\"}")
:msg, contains, "msgnum:" action(type="omvalkeyaudit" server="unix:'"$(store_socket)"'" template="number"
                                 timeout.connect="300" timeout.commit="300"
                                 '"$own_queue"')
'
hung() { [ "$(log_count 'cannot commit')" -ge "$1" ]; }

startup
injectmsg 0 1000
wait_records 1000
for round in 1 2 3 4 5; do
  pause_store
  injectmsg $((round * 1000)) 1000
  wait_until "the plugin gives up for the ${round}th time" hung "$round"
  continue_store
  wait_records $(((round + 1) * 1000))
done
shutdown_when_empty
wait_shutdown
check_numbers 0 $((NUMMESSAGES - 1))
check_log 'commits again'
exit_test
