#!/bin/bash
# A wrong password loses nothing: the records wait, one line says what is wrong, and they are delivered once the password fits.
# Oracle: the log; the numbers in the stream after the server was given the password that the action has. No line shows a password.
. "${srcdir:=.}/diag.sh" init
. "$(dirname "$0")/valkey.sh"
export NUMMESSAGES=500 QUEUE_EMPTY_CHECK_FUNC=all_delivered
STORE_PASSWORD=right-password-of-the-server
start_store --requirepass "$STORE_PASSWORD"
generate_conf
add_conf '
module(load="'"$OMVALKEYAUDIT_SO"'")
template(name="number" type="string" string="{\"n\":\"%msg:F,58:2%\"}")
:msg, contains, "msgnum:" action(type="omvalkeyaudit" server="unix:'"$(store_socket)"'" template="number"
                                 serverpassword="wrong-password-of-the-action"
                                 '"$own_queue"')
'
startup
injectmsg
wait_log WRONGPASS
check_same "entries while the password is wrong" 0 "$(store_cli XLEN audit)"
store_cli CONFIG SET requirepass wrong-password-of-the-action
STORE_PASSWORD=wrong-password-of-the-action
shutdown_when_empty
wait_shutdown
check_numbers 0 $((NUMMESSAGES - 1))
check_same "dead letters" 0 "$(store_cli XLEN audit:deadletter)"
check_log serverpassword
check_log_without wrong-password-of-the-action
check_log_without right-password-of-the-server
exit_test
