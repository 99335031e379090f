/*
 * print.h: a graph as text, and as a picture in Graphviz's language. Nothing is evaluated: what was
 * evaluated before has let its inputs go, and is a source.
 */
#ifndef NX_GRAPH_PRINT_H
#define NX_GRAPH_PRINT_H

#include <stdio.h>

#include "engine/graph/walk.h"

/* Names of arrays: given ones, and A, B … Z, AA … for those that have none when asked for. Holds
 * the arrays, so that a name is never another's. {0} is empty. */
typedef struct {
    nx_ptr_map index; /* array -> place in the two lists */
    nx_array_vec arrays;
    NX_VEC(char *) names;
} nx_namer;

void nx_namer_clear(nx_namer *n);
void nx_namer_set(nx_namer *n, nx_array *a, const char *name);
const char *nx_namer_get(nx_namer *n, nx_array *a); /* belongs to the namer */

void nx_graph_print(FILE *f, nx_namer *names, nx_array *const *outputs, size_t n);
void nx_graph_dot(FILE *f, nx_namer *names, nx_array *const *outputs, size_t n);

#endif
