#!/bin/bash
# rsyslogd may start before the server: the records wait and are delivered in order once it is there.
# Oracle: the numbers in the stream; the plugin logs that it cannot connect, once and not per attempt, and later that it has.
. "${srcdir:=.}/diag.sh" init
. "$(dirname "$0")/valkey.sh"
export NUMMESSAGES=2000 QUEUE_EMPTY_CHECK_FUNC=all_delivered
generate_conf
add_conf '
module(load="'"$OMVALKEYAUDIT_SO"'")
template(name="number" type="string" string="{\"n\":\"%msg:F,58:2%\"}")
:msg, contains, "msgnum:" action(type="omvalkeyaudit" server="unix:'"$(store_socket)"'" template="number"
                                 '"$own_queue"')
'
startup
injectmsg
wait_log 'cannot commit, records wait: cannot connect'
start_store
shutdown_when_empty
wait_shutdown
check_numbers 0 $((NUMMESSAGES - 1))
check_log 'commits again'
check_same "lines about the failure" 1 "$(log_count 'cannot commit')"
exit_test
