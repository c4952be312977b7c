#!/bin/bash
# Records that a queued action gets reach the stream, each exactly once and in order, a JSON member as a field of its name.
# Oracle: the numbers and the field that the server reads back; the plugin's word that it connected.
. "${srcdir:=.}/diag.sh" init
. "$(dirname "$0")/valkey.sh"
export NUMMESSAGES=${NUMMESSAGES:-5000} QUEUE_EMPTY_CHECK_FUNC=all_delivered
start_store
generate_conf
add_conf '
module(load="'"$OMVALKEYAUDIT_SO"'")
template(name="number" type="string" string="{\"n\":\"%msg:F,58:2%\"}")
:msg, contains, "msgnum:" action(type="omvalkeyaudit" name="numbers" server="unix:'"$(store_socket)"'" template="number"
                                 '"$own_queue"')
'
startup
injectmsg
shutdown_when_empty
wait_shutdown
check_numbers 0 $((NUMMESSAGES - 1))
check_same "field of an entry" n "$(store_cli XRANGE audit - + COUNT 1 | sed -n 2p)"
check_log 'omvalkeyaudit[numbers]: connected, server: "unix:'
exit_test
