#!/bin/bash
# The same as omvalkeyaudit-partial-commit.sh under valgrind: no invalid access, no leak.
export USE_VALGRIND=YES
. "$(dirname "$0")/omvalkeyaudit-partial-commit.sh"
