/*
 * update.h: rows of one array put into, or combined with, rows of another of its type: the inner
 * loop of SliceUpdate and the scatters. And a walk that splits such work over the pool.
 */
#ifndef NX_CPU_UPDATE_H
#define NX_CPU_UPDATE_H

#include "engine/cpu/isa.h"
#include "engine/ops/params.h"

/* to[i * ts] = mode(to[i * ts], from[i * fs]); steps count elements. */
typedef void (*nx_update_row)(int64_t n, const void *from, int64_t fs, void *to, int64_t ts);

nx_update_row NX_FN(update_row)(nx_reduce_mode mode, nx_dtype dtype);
/* All of `from` into `to`, of one shape and type; `to` has no element twice. */
void NX_FN(update_view)(nx_reduce_mode mode, const nx_view *from, const nx_view *to);

#endif
