#!/bin/bash
# The server goes away in an orderly way and returns: what was delivered before, during and after is there once, in order.
# Oracle: the numbers in the stream, which outlives the server; one line each for the loss and the return of the connection.
. "${srcdir:=.}/diag.sh" init
. "$(dirname "$0")/valkey.sh"
export NUMMESSAGES=3000 QUEUE_EMPTY_CHECK_FUNC=all_delivered
start_store
generate_conf
add_conf '
module(load="'"$OMVALKEYAUDIT_SO"'")
template(name="number" type="string" string="{\"n\":\"%msg:F,58:2%\"}")
:msg, contains, "msgnum:" action(type="omvalkeyaudit" server="unix:'"$(store_socket)"'" template="number"
                                 '"$own_queue"')
'
startup
injectmsg 0 1000
wait_records 1000
stop_store
injectmsg 1000 1000
wait_log 'cannot commit, records wait'
start_store
wait_records 2000
injectmsg 2000 1000
shutdown_when_empty
wait_shutdown
check_numbers 0 $((NUMMESSAGES - 1))
check_same "lines about the loss" 1 "$(log_count 'cannot commit')"
check_same "lines about the return" 1 "$(log_count 'commits again')"
check_same "dead letters" 0 "$(store_cli XLEN audit:deadletter)"
exit_test
