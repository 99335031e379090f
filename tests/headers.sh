#!/bin/sh
# Every public header compiles alone, without a warning.
#   headers.sh INCLUDE_DIR COMPILER LANGUAGE(c|c++) STANDARD
include=$1 compiler=$2 language=$3 standard=$4
status=0
for header in "$include"/*/*.h "$include"/*/*/*.h; do
    [ -f "$header" ] || continue
    name=${header#"$include"/}
    printf '#include "%s"\n#include "%s"\nint nothing(void);\n' "$name" "$name" |
        "$compiler" -x "$language" "-std=$standard" -fsyntax-only -Wall -Wextra -Werror \
            -I "$include" - || { echo "headers: $name does not compile alone" >&2; status=1; }
done
exit $status
