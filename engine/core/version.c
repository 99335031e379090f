#include "engine/core/version.h"

const char *nx_version(void)
{
    return "0.31.2";
}
