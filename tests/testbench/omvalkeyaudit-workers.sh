#!/bin/bash
# Three workers of one queue share the records: each is written once, each worker has a connection of its own.
# Oracle: the numbers in the stream, in no order across workers, and the number of the plugin's connections. The server holds all writes
# back until all three workers are at work, or the first could be done before the others start.
. "${srcdir:=.}/diag.sh" init
. "$(dirname "$0")/valkey.sh"
export NUMMESSAGES=20000 QUEUE_EMPTY_CHECK_FUNC=all_delivered
start_store
generate_conf
add_conf '
module(load="'"$OMVALKEYAUDIT_SO"'")
template(name="number" type="string" string="{\"n\":\"%msg:F,58:2%\"}")
:msg, contains, "msgnum:" action(type="omvalkeyaudit" server="unix:'"$(store_socket)"'" template="number"
                                 timeout.connect="600000" timeout.commit="600000"
                                 '"$own_queue"' queue.dequeueBatchSize="100" queue.workerThreads="3"
                                 queue.workerThreadMinimumMessages="100")
'
three_connections() { [ "$(store_cli CLIENT LIST | grep -c ' name=omvalkeyaudit ')" -eq 3 ]; }

startup
store_cli CLIENT PAUSE 600000 WRITE
injectmsg
wait_until "three workers are connected" three_connections
store_cli CLIENT UNPAUSE
shutdown_when_empty
wait_shutdown
check_numbers 0 $((NUMMESSAGES - 1)) audit any-order
exit_test
