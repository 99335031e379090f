#!/bin/sh
# Says what displays there are, how memory stands, and which model size suits.
#   adaptive_display_detector.sh [options of nexus display]
# Exit status: nexus display's: 0, or 1 when it fails.
set -u
here=$(cd "$(dirname "$0")/.." && pwd)
nexus=${NEXUS_BIN:-$here/build/nexus}
[ -x "$nexus" ] || nexus=$(command -v nexus) || {
    echo "nexus is not built yet: run ./quickstart in $here" >&2
    exit 1
}
exec "$nexus" display "$@"
