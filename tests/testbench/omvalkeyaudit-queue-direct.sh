#!/bin/bash
# An action without a queue of its own works on the main queue's batches, in that queue's worker; raw records are stored verbatim.
# Oracle: the numbers and the field that the server reads back; fewer transactions than records show that batches were committed.
. "${srcdir:=.}/diag.sh" init
. "$(dirname "$0")/valkey.sh"
export NUMMESSAGES=5000 QUEUE_EMPTY_CHECK_FUNC=all_delivered
start_store
watch_flushes
generate_conf
add_conf '
main_queue(queue.dequeueBatchSize="100" queue.minDequeueBatchSize="100" queue.minDequeueBatchSize.timeout="500")
module(load="'"$OMVALKEYAUDIT_SO"'")
template(name="number" type="string" string="%msg:F,58:2%")
:msg, contains, "msgnum:" action(type="omvalkeyaudit" server="unix:'"$(store_socket)"'" template="number" record.format="raw"
                                 queue.type="direct" action.resumeRetryCount="-1")
'
startup
injectmsg
shutdown_when_empty
wait_shutdown
check_numbers 0 $((NUMMESSAGES - 1))
check_same "field of an entry" msg "$(store_cli XRANGE audit - + COUNT 1 | sed -n 2p)"
flushes=$(flushes_of)
[ "$flushes" -lt $((NUMMESSAGES / 10)) ] || fail_test "$flushes transactions for $NUMMESSAGES records: batches were not committed as such"
exit_test
