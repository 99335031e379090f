/*
 * vmap.h: a function of single things applied to a batch: traced on placeholders of one slice, then
 * replayed with whole arrays, each operation by the rule that batches it.
 */
#ifndef NX_GRAPH_VMAP_H
#define NX_GRAPH_VMAP_H

#include "engine/graph/function.h"

/* Runs f on a placeholder for each input that has an axis (-1: the input itself): s_in[n], and what
 * f made of them appended to s_out. */
bool nx_vmap_trace(nx_function f, nx_array *const *in, const int *axes, size_t n, nx_array **s_in,
                   nx_array_vec *s_out);

/* What was traced, on the inputs. out_axes: where each output gets its batch dimension; -1: it has
 * none. */
bool nx_vmap_replace(nx_array *const *in, nx_array *const *s_in, const int *axes, size_t n_in,
                     nx_array *const *s_out, const int *out_axes, size_t n_out, nx_array **out);

/* Both, with all batch dimensions of results in front. */
bool nx_vmap(nx_function f, nx_array *const *in, const int *axes, size_t n, nx_array_vec *out);

#endif
