/*
 * policy.h: the data behind a choice: policy.json in the settings folder, else the one that ships.
 *
 *   tasks: NAME -> kinds   what a model must be ("text", "embedding", …)
 *                  rules   in order: memory_gb (or more), model (its name), pull
 *                  words   pieces of a name (in any case) and what they weigh
 *                  size    instead of weights.size
 *                  pull    what to fetch where there is no rule that says
 *   weights: size (times log2 of billions of parameters), mlx, no_chat_template, under_4_bits,
 *            under_3_bits, not_run_yet
 */
#ifndef NX_RUNTIME_CATALOG_POLICY_H
#define NX_RUNTIME_CATALOG_POLICY_H

#include "base/json.h"

extern const char policy_shipped[];

/* NULL with an error that names the file and the fault. json_decref it. */
json_t *policy_load(void);
/* The path of a person's own, free() it; NULL where there is no home folder. */
char *policy_path(void);

#endif
