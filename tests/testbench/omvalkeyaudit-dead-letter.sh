#!/bin/bash
# Records that are no JSON object go to the dead letter with the reason; the good ones of the same batch are committed, once and in
# order.
# Oracle: both streams. The queue waits until it can hand over all 20 records as one batch; numbers 3, 4 and 17 are broken.
. "${srcdir:=.}/diag.sh" init
. "$(dirname "$0")/valkey.sh"
export NUMMESSAGES=17 QUEUE_EMPTY_CHECK_FUNC=all_delivered
start_store
generate_conf
add_conf '
module(load="'"$OMVALKEYAUDIT_SO"'")
template(name="record" type="string" string="%msg:2:$%")
:programname, isequal, "audit" action(type="omvalkeyaudit" name="letters" server="unix:'"$(store_socket)"'" template="record"
                                      '"$own_queue"' queue.dequeueBatchSize="20" queue.minDequeueBatchSize="20"
                                      queue.minDequeueBatchSize.timeout="60000")
'
startup
for number in {0..19}; do
  record="{\"n\":\"$number\"}"
  case $number in
    3) record='{"n":"3"' ;;
    4) record='plain text: %s%n "3"' ;;
    17) record='["17"]' ;;
  esac
  echo "<165>Mar  1 01:00:00 host audit: $record"
done >records
injectmsg_file records
shutdown_when_empty
wait_shutdown
check_same "committed" "0 1 2 5 6 7 8 9 10 11 12 13 14 15 16 18 19" "$(stream_values audit | tr '\n' ' ' | sed 's/ $//')"
check_same "dead letters" 3 "$(store_cli XLEN audit:deadletter)"
check_same "their records" '{"n":"3"|plain text: %s%n "3"|["17"]' "$(member_of audit:deadletter record | paste -sd '|')"
check_same "their action" 'letters|letters|letters' "$(member_of audit:deadletter action | paste -sd '|')"
check_same "reasons" 3 "$(member_of audit:deadletter reason | grep -c .)"
check_same "times in UTC with microseconds" 3 \
  "$(member_of audit:deadletter received | grep -cE '^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z$')"
check_log 'omvalkeyaudit[letters]: '
check_log 'dead letter'
check_log_without 'plain text'
exit_test
