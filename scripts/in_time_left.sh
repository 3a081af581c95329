#!/bin/sh
# Runs a command with the processor time that everything else leaves, in a session of its own:
#
#   scripts/in_time_left.sh COMMAND ... &     in a script; `kill -- -$!` ends it and all that it has started
#
# The kernel shares time out among sessions first, so the share of this session has to be small as well (sched(7)).
exec setsid sh -c 'if [ -w /proc/self/autogroup ]; then echo 19 >/proc/self/autogroup; fi; exec chrt --idle 0 "$@"' sh "$@"
