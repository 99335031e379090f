/*
 * tape.h: a traced function as a list of operations in order, to be replayed on other inputs.
 */
#ifndef NX_GRAPH_TAPE_H
#define NX_GRAPH_TAPE_H

#include "engine/graph/walk.h"

/* An input of an operation or an output of the tape: value `slot`, or (SIZE_MAX) always `array`. */
typedef struct {
    size_t slot;
    nx_array *array;
} nx_tape_value;

typedef struct {
    nx_node *node;      /* what to do */
    size_t first;       /* the slot of its output 0 */
    size_t first_input; /* of node->n_in values in nx_tape.inputs */
} nx_tape_step;

typedef struct {
    nx_array_vec sources, outputs; /* counted: they hold the graph */
    NX_VEC(nx_tape_step) steps;
    NX_VEC(nx_tape_value) inputs, results;
    nx_array_vec held; /* what fused steps are made like; counted */
    size_t n_slots;
    bool any_shape;    /* inputs need not have the sizes of the sources */
} nx_tape;

/* From placeholders to what was built on them. simplify: equal operations on equal inputs are one.
 * any_shape: replays may be of other sizes. */
void nx_tape_init(nx_tape *t, nx_array *const *sources, size_t n, nx_array *const *outputs,
                  size_t n_out, bool simplify, bool any_shape);
/* Elementwise steps that lead to each other become one (fuse.c). */
void nx_tape_fuse(nx_tape *t);
void nx_tape_clear(nx_tape *t);

/* The operations on inputs in place of the sources; results appended to out. */
bool nx_tape_replay(const nx_tape *t, nx_array *const *in, nx_array_vec *out);

#endif
