/*
 * lib.h: libnexus's failures as the server's own. The library keeps its last message to itself;
 * everything in the server reads nx_error_message().
 */
#ifndef NX_SERVER_LIB_H
#define NX_SERVER_LIB_H

#include "base/error.h"
#include "nexus/nexus.h"

static inline nexus_status lib(nexus_status s)
{
    if (s)
        nx_fail("%s", nexus_error_message());
    return s;
}

#endif
