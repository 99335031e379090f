#!/bin/sh
# Runs oracle tests with a Python that has MLX; exit status 77 (skipped) where there is none.
#   run.sh LIBMLXC PYTHON_OR_EMPTY TEST_FILE...
lib=$1 python=$2
shift 2
root=$(cd "$(dirname "$0")/../.." && pwd)
for candidate in "$python" "${NEXUS_VENV:+$NEXUS_VENV/bin/python}" "$root/.venv/bin/python" python3; do
    [ -n "$candidate" ] || continue
    if "$candidate" -c 'import mlx.core, ml_dtypes, numpy, pytest' 2>/dev/null; then
        export MLXC_LIB="$lib" PYTHONDONTWRITEBYTECODE=1
        exec "$candidate" -m pytest -q -p no:cacheprovider "$@"
    fi
done
echo "oracle: skipped, no Python with mlx, ml_dtypes, numpy and pytest" >&2
exit 77
