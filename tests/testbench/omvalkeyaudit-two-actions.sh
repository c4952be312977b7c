#!/bin/bash
# Two actions are two worlds: while the server of one is away, the other gets every record; the first catches up when its server is back.
# Oracle: the numbers in both stores.
. "${srcdir:=.}/diag.sh" init
. "$(dirname "$0")/valkey.sh"
export NUMMESSAGES=2000
STORE=first start_store
STORE=second start_store
generate_conf
add_conf '
module(load="'"$OMVALKEYAUDIT_SO"'")
template(name="number" type="string" string="{\"n\":\"%msg:F,58:2%\"}")
if $msg contains "msgnum:" then {
  action(type="omvalkeyaudit" name="first" server="unix:'"$(STORE=first store_socket)"'" key="one" template="number"
         '"$own_queue"')
  action(type="omvalkeyaudit" name="second" server="unix:'"$(STORE=second store_socket)"'" key="two" template="number"
         '"$own_queue"')
}
'
startup
injectmsg 0 1000
STORE=first wait_records 1000 one
STORE=second wait_records 1000 two
STORE=second stop_store
injectmsg 1000 1000
STORE=first wait_records 2000 one
wait_log 'omvalkeyaudit[second]: '
STORE=second start_store
STORE=second wait_records 2000 two
shutdown_when_empty
wait_shutdown
STORE=first check_numbers 0 $((NUMMESSAGES - 1)) one
STORE=second check_numbers 0 $((NUMMESSAGES - 1)) two
check_log 'omvalkeyaudit[first]: connected'
check_log 'omvalkeyaudit[second]: connected'
exit_test
