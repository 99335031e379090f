/* version.h. */
#include "engine/capi/objects.h"
#include "engine/core/version.h"

int mlx_version(mlx_string *str_)
{
    nx_string_set(NX_POINTER(str_), nx_version());
    return 0;
}
