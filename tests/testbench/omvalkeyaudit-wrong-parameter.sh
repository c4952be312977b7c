#!/bin/bash
# A parameter with a value that it cannot have is refused when the configuration is checked, and so is one that does not exist.
# Oracle: rsyslogd -N1 fails, and a line of the plugin names the parameter and the value. The same action with right values is accepted.
. "${srcdir:=.}/diag.sh" init
. "$(dirname "$0")/valkey.sh"
try() {
  generate_conf
  add_conf '
module(load="'"$OMVALKEYAUDIT_SO"'")
action(type="omvalkeyaudit" server="unix:/nowhere" '"$1"')
'
}
try 'layout="blob"'
check_refused '"layout"' '"blob"' '"fields"'
try 'record.format="xml"'
check_refused '"record.format"' '"xml"' '"json"'
try 'batch.maxrecords="0"'
check_refused '"batch.maxrecords"' '"0"' 'from 1'
try 'batch.maxrecords="many"'
check_refused '"batch.maxrecords"' '"many"' 'from 1'
try 'socketpath="/elsewhere"'
check_refused '"server"' '"socketpath"'
try 'serverpassword="" key="audit"'
check_refused '"serverpassword"' 'not empty'
try 'sever="127.0.0.1"'
! check_config || fail_test "rsyslogd accepted a parameter that does not exist"
grep -F sever config.out || fail_test "the refusal does not name the unknown parameter"
try 'layout="record" record.format="raw" batch.maxrecords="10"'
check_config || fail_test "rsyslogd refuses a configuration that is right"
exit_test
