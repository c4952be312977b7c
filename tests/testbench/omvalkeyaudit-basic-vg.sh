#!/bin/bash
# The same as omvalkeyaudit-basic.sh under valgrind: no invalid access, no leak.
export USE_VALGRIND=YES NUMMESSAGES=1000
. "$(dirname "$0")/omvalkeyaudit-basic.sh"
