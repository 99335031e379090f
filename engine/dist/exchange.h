/*
 * exchange.h: builders of operations between processes. group NULL is that of all processes. Every
 * process of the group must evaluate the same ones in the same order.
 */
#ifndef NX_DIST_EXCHANGE_H
#define NX_DIST_EXCHANGE_H

#include "engine/core/array.h"
#include "engine/dist/group.h"

/* In a group of one, a itself. */
nx_array *nx_all_reduce(nx_array *a, nx_combine combine, nx_group *group, nx_stream *s);
nx_array *nx_all_gather(nx_array *a, nx_group *group, nx_stream *s);
nx_array *nx_sum_scatter(nx_array *a, nx_group *group, nx_stream *s);
/* In a group of one, errors. */
nx_array *nx_send(nx_array *a, int to, nx_group *group, nx_stream *s);
nx_array *nx_recv(const int *shape, int ndim, nx_dtype dtype, int from, nx_group *group,
                  nx_stream *s);

#endif
