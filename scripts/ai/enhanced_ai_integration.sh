#!/bin/sh
# Checks the model folder, counts its MLX models, and gives tips.
#   enhanced_ai_integration.sh [DIR]     (NEXUS_MODELS_DIR, else /Volumes/MICRO/models where it is,
#                                         else all stores)
# Exit status: 0 with MLX models, 1 without, or when the folder is not there.
set -u
here=$(cd "$(dirname "$0")/../.." && pwd)
nexus=${NEXUS_BIN:-$here/build/nexus}
[ -x "$nexus" ] || nexus=$(command -v nexus) || {
    echo "nexus is not built yet: run ./quickstart in $here" >&2
    exit 1
}
dir=${1:-${NEXUS_MODELS_DIR:-}}
if [ -z "$dir" ] && [ -d /Volumes/MICRO/models ]; then
    dir=/Volumes/MICRO/models
fi
if [ -n "$dir" ] && [ ! -d "$dir" ]; then
    echo "The model folder $dir is not there: mount its disk, or name another one." >&2
    exit 1
fi
echo "Model folder: ${dir:-all stores of this machine}"
if [ -n "$dir" ]; then set -- "$dir"; else set --; fi
"$nexus" models "$@" --mlx || exit 1
json=$("$nexus" models "$@" --mlx --json) || exit 1
# In the object "mlx" the number after "count".
count=$(printf '%s\n' "$json" | sed -n '/^  "mlx": {/,/}/s/.*"count": \([0-9]*\).*/\1/p')
echo
if [ "${count:-0}" -eq 0 ]; then
    echo "There are no MLX models. Tips:"
    echo "  nexus pull pcuenq/TinyLlama-1.1B-Chat-v1.0-mlx   fetches a small one"
    echo "  nexus models${dir:+ $dir}                          says what converting others would bring"
    exit 1
fi
echo "MLX models: $count. Tips:"
echo "  nexus select${dir:+ --dir $dir}    chooses the best that fits"
echo "  nexus run auto \"...\"     answers with it"
echo "  nexus doctor             looks at the machine and at LM Studio"
