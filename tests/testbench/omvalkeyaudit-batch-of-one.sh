#!/bin/bash
# A queue that hands over single records gets each committed by itself.
# Oracle: the server executed one transaction per record, each with one entry.
. "${srcdir:=.}/diag.sh" init
. "$(dirname "$0")/valkey.sh"
export NUMMESSAGES=200 QUEUE_EMPTY_CHECK_FUNC=all_delivered
start_store
watch_flushes
generate_conf
add_conf '
module(load="'"$OMVALKEYAUDIT_SO"'")
template(name="number" type="string" string="{\"n\":\"%msg:F,58:2%\"}")
:msg, contains, "msgnum:" action(type="omvalkeyaudit" server="unix:'"$(store_socket)"'" template="number"
                                 '"$own_queue"' queue.dequeueBatchSize="1")
'
startup
injectmsg
shutdown_when_empty
wait_shutdown
check_numbers 0 $((NUMMESSAGES - 1))
check_same "flushes of 1 record" "$NUMMESSAGES" "$(flushes_of 1)"
check_same "flushes" "$NUMMESSAGES" "$(flushes_of)"
exit_test
