/*
 * vec.h: a growable array of any type, as a plain struct with items, count and capacity.
 *
 *     typedef NX_VEC(int) int_vec;
 *     int_vec v = {0};
 *     nx_vec_push(&v, 3);
 *     for (size_t i = 0; i < v.n; i++) use(v.at[i]);
 *     nx_vec_clear(&v);
 *
 * Pushing may move the items: keep indices, not pointers.
 */
#ifndef NX_BASE_VEC_H
#define NX_BASE_VEC_H

#include <stddef.h>
#include <stdlib.h>

#include "base/error.h"

#define NX_VEC(type)  \
    struct {          \
        type *at;     \
        size_t n;     \
        size_t cap;   \
    }

#define nx_vec_reserve(v, extra) \
    ((v)->at = nx_vec_grow_((v)->at, &(v)->cap, (v)->n + (extra), sizeof *(v)->at))
#define nx_vec_push(v, ...) (nx_vec_reserve(v, 1), (v)->at[(v)->n++] = (__VA_ARGS__))
#define nx_vec_pop(v) ((v)->at[--(v)->n])
#define nx_vec_last(v) ((v)->at[(v)->n - 1])
/* Needs <stdlib.h>. qsort may not be given the NULL of an empty one. */
#define nx_vec_sort(v, compare) \
    ((v)->n > 1 ? qsort((v)->at, (v)->n, sizeof *(v)->at, (compare)) : (void)0)
#define nx_vec_clear(v) (free((v)->at), (v)->at = NULL, (v)->n = (v)->cap = 0)

static inline void *nx_vec_grow_(void *at, size_t *cap, size_t need, size_t item)
{
    if (need <= *cap)
        return at;
    size_t bigger = *cap ? *cap * 2 : 8;
    if (bigger < need)
        bigger = need;
    *cap = bigger;
    return nx_realloc(at, bigger * item);
}

#endif
