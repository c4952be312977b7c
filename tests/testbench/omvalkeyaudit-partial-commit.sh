#!/bin/bash
# A batch of the core that is larger than batch.maxrecords is committed in parts, and nothing is lost or doubled at the seams.
# Oracle: the transactions that the server executed. The queue hands over batches of exactly 64 records; in parts of at most 10 that makes
# six of 10 and one of 4 for each batch.
. "${srcdir:=.}/diag.sh" init
. "$(dirname "$0")/valkey.sh"
export NUMMESSAGES=640 QUEUE_EMPTY_CHECK_FUNC=all_delivered
start_store
watch_flushes
generate_conf
add_conf '
module(load="'"$OMVALKEYAUDIT_SO"'")
template(name="number" type="string" string="{\"n\":\"%msg:F,58:2%\"}")
:msg, contains, "msgnum:" action(type="omvalkeyaudit" server="unix:'"$(store_socket)"'" template="number" batch.maxrecords="10"
                                 '"$own_queue"' queue.dequeueBatchSize="64" queue.minDequeueBatchSize="64"
                                 queue.minDequeueBatchSize.timeout="60000")
'
startup
injectmsg
shutdown_when_empty
wait_shutdown
check_numbers 0 $((NUMMESSAGES - 1))
check_same "flushes of 10 records" 60 "$(flushes_of 10)"
check_same "flushes of 4 records" 10 "$(flushes_of 4)"
check_same "flushes" 70 "$(flushes_of)"
exit_test
