/*
 * walk.h: from outputs down to the inputs of a transform, without recursion: the nodes in between in
 * an order in which every node comes after those it reads.
 */
#ifndef NX_GRAPH_WALK_H
#define NX_GRAPH_WALK_H

#include "engine/core/prim.h"

/* A hash map from nodes (or arrays) to numbers. {0} is empty. */
typedef struct {
    struct nx_ptr_slot {
        const void *key;
        size_t value;
    } *slots;
    size_t n, n_slots; /* n_slots: a power of two */
} nx_ptr_map;

void nx_ptr_map_clear(nx_ptr_map *m);
/* Sets or replaces. The key is not NULL. */
void nx_ptr_map_set(nx_ptr_map *m, const void *key, size_t value);
/* NULL if there is none; valid until the next set. */
size_t *nx_ptr_map_find(const nx_ptr_map *m, const void *key);

typedef struct {
    nx_node *node;
    size_t first; /* number of its output 0; outputs of all nodes are numbered through */
} nx_walked;

typedef struct {
    NX_VEC(nx_walked) order; /* the sources first, then inputs before users */
    size_t n_sources;
    size_t n_outputs;        /* of all nodes of the order */
    nx_ptr_map index;        /* node -> its place in order + 1; 0: it leads to no source */
} nx_graph_walk;

/* Walks from `to` back to the nodes of `sources`. What does not depend on a source is left out; with
 * differentiable, so is what does so only through an operation where differentiation stops. The walk
 * does not go beyond `border` and its inputs (NULL: it goes everywhere). */
void nx_graph_walk_init(nx_graph_walk *w, nx_array *const *sources, size_t n_sources,
                        nx_array *const *to, size_t n_to, bool differentiable,
                        const nx_node *border);
void nx_graph_walk_clear(nx_graph_walk *w);
/* The number of an array among all outputs; SIZE_MAX if its node is not in the walk. */
size_t nx_graph_walk_find(const nx_graph_walk *w, const nx_array *a);

#endif
