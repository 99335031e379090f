#!/bin/sh
# One test program as several processes.
#   run.sh MPIRUN RANKS SAYS PROGRAM TEST
# SAYS empty: all must succeed. Else the job must end with a failure, soon, and one rank must say it.
mpirun=$1 ranks=$2 says=$3 program=$4 test=$5
root=
[ "$(id -u)" -eq 0 ] && root=--allow-run-as-root
log=$(mktemp) && trap 'rm -f "$log"' EXIT || exit 1
timeout 45 "$mpirun" $root --oversubscribe -n "$ranks" "$program" "$test" "$ranks" > "$log" 2>&1
status=$?
cat "$log"
[ -z "$says" ] && exit $status
[ $status -ne 0 ] && [ $status -ne 124 ] && grep -q "$says" "$log"
