/* evaluation.h: models measured by a text, as eval and the reports of convert and quantize print it. */
#ifndef NX_CLI_EVALUATION_H
#define NX_CLI_EVALUATION_H

#include "base/str.h"
#include "nexus/nexus.h"

/* Loads `name` and, unless NULL, `against`, and scores the text, with a progress line. */
nexus_status evaluation_run(const char *name, const char *against, const nx_str *text, int ctx, int threads,
                            nexus_evaluation *out);

#endif
