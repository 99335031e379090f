#!/bin/sh
# libmlxc exports functions of the public headers and nothing else; says how many are still to come.
#   exports.sh LIBMLXC INCLUDE_DIR
lib=$1 include=$2
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT || exit 1
if [ "$(uname)" = Darwin ]; then
    nm -gU "$lib" | awk '{ sub(/^_/, "", $3); print $3 }' | sort -u > "$work/exported"
else
    nm -D --defined-only "$lib" | awk '{ print $3 }' | sort -u > "$work/exported"
fi
# Names declared for this machine: the preprocessor leaves out what its compiler has no types for.
printf '#include "mlx/c/mlx.h"\n' | cc -E -P -I "$include" - | tr '\n' ' ' |
    grep -oE '\b_?mlx_[a-z0-9_]+ *\(' | tr -d ' (' | sort -u > "$work/declared"
[ -s "$work/declared" ] && [ -s "$work/exported" ] || { echo "exports: nothing to compare" >&2; exit 1; }
status=0
comm -23 "$work/exported" "$work/declared" | grep -vE '^nexus_engine_' > "$work/unknown"
if [ -s "$work/unknown" ]; then
    echo "exports: not in the public headers:" >&2
    cat "$work/unknown" >&2
    status=1
fi
echo "exports: $(comm -12 "$work/exported" "$work/declared" | wc -l) of" \
    "$(wc -l < "$work/declared") functions; missing:"
comm -13 "$work/exported" "$work/declared"
exit $status
