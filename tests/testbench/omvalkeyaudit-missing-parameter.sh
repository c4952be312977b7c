#!/bin/bash
# A parameter that makes no sense without another one is refused when the configuration is checked and the other one is missing.
# Oracle: rsyslogd -N1 fails, and a line of the plugin names both. An action without any parameter is accepted: all have defaults.
. "${srcdir:=.}/diag.sh" init
. "$(dirname "$0")/valkey.sh"
try() {
  generate_conf
  add_conf '
module(load="'"$OMVALKEYAUDIT_SO"'")
action(type="omvalkeyaudit" '"$1"')
'
}
try 'user="auditor"'
check_refused '"user"' '"passwordfile"'
try 'dynakey="on"'
check_refused '"dynakey"' '"key"'
try ''
check_config || fail_test "rsyslogd refuses an action with nothing but defaults"
exit_test
