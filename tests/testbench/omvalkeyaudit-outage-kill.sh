#!/bin/bash
# The server is killed three times in the middle of a stream of records: no record is lost, none doubled, none out of order, also not those
# of a transaction whose confirmation was lost.
# Oracle: the numbers in the stream, which outlives the killed server with all that it confirmed.
. "${srcdir:=.}/diag.sh" init
. "$(dirname "$0")/valkey.sh"
export NUMMESSAGES=100000 QUEUE_EMPTY_CHECK_FUNC=all_delivered
start_store
generate_conf
add_conf '
module(load="'"$OMVALKEYAUDIT_SO"'")
template(name="number" type="string" string="{\"n\":\"%msg:F,58:2%\"}")
:msg, contains, "msgnum:" action(type="omvalkeyaudit" server="unix:'"$(store_socket)"'" template="number" batch.maxrecords="10"
                                 '"$own_queue"')
'
startup
injectmsg
for round in 1 2 3; do
  wait_records $((round * 5000))
  kill_store
  start_store
done
shutdown_when_empty
wait_shutdown
check_numbers 0 $((NUMMESSAGES - 1))
check_log 'commits again'
exit_test
