#!/bin/bash
# The same as omvalkeyaudit-batch-of-one.sh under valgrind: no invalid access, no leak.
export USE_VALGRIND=YES
. "$(dirname "$0")/omvalkeyaudit-batch-of-one.sh"
