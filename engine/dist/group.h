/*
 * group.h: groups of processes that exchange arrays, and what carries the arrays.
 *
 * A group lives as long as the process. A group of one needs nothing to carry anything.
 */
#ifndef NX_DIST_GROUP_H
#define NX_DIST_GROUP_H

#include <stdbool.h>

#include "engine/dist/transport.h"

typedef struct nx_group nx_group;

/* "mpi", or "any"; also MLX's other names, which are never available here. */
bool nx_group_is_available(const char *backend);
/* The group of all processes. Where there is none, with strict NULL after nx_fail, else a group of
 * this process alone. Asking again gives the same group. */
nx_group *nx_group_init(bool strict, const char *backend);
/* g itself, or for NULL the group of all processes. */
nx_group *nx_group_or_all(nx_group *g);
int nx_group_rank(const nx_group *g);
int nx_group_size(const nx_group *g);
/* Called by all processes of g; see nx_transport. */
nx_group *nx_group_split(nx_group *g, int color, int key);
/* False after nx_fail. */
bool nx_group_run(nx_group *g, const nx_exchange *x);

#endif
