/*
 * capi.h: between the public interface and the engine: handles, argument checks, errors.
 *
 * A handle of the interface is { void *ctx }. ctx points to a small object that stays where it is
 * while its content is replaced, so copies of a handle see mlx_array_set and the like. For arrays
 * that is an nx_handle; a NULL ctx is the empty handle.
 *
 * A function of the interface is one to three lines:
 *
 *     int mlx_exp(mlx_array *res, const mlx_array a, const mlx_stream s)
 *     {
 *         NX_GIVE(nx_exp(NX_ARRAY(a), NX_STREAM(s)));
 *     }
 *
 * NX_GIVE opens a build scope, evaluates the builder, puts a reference into *res and closes the
 * scope; NX_ARRAY and NX_STREAM return from the function, with the error reported, where a handle
 * is empty. Whatever fails below leaves its message by nx_fail, and nx_report hands it to the
 * program's handler, once.
 */
#ifndef NX_CAPI_CAPI_H
#define NX_CAPI_CAPI_H

#include <complex.h>
#include <float.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/vec.h"
#include "engine/core/array.h"
#include "engine/core/scope.h"

/* The library hides its names; what these headers declare is what it exports. */
#pragma GCC visibility push(default)
#include "mlx/c/mlx.h"
#include "nexus/engine.h"
#pragma GCC visibility pop

typedef struct {
    nx_array *array;
} nx_handle;

/* Behind mlx_vector_array is an nx_array_vec that holds references. */

/* Calls the error handler with this thread's message. Returns 1. */
int nx_report(void);
/* The status of a function that succeeded or left a message. */
static inline int nx_status(bool ok)
{
    return ok ? 0 : nx_report();
}
/* Fails with "[function] name is an empty handle" (or a NULL pointer), reported. Returns 1. */
int nx_report_empty(const char *function, const char *name);

/*
 * The arrays of the call under way, so that an error can say what it was given: NX_ARRAY and
 * NX_ARRAY_LIST note them, nx_give and every report forget them. They are read by the function that noted them alone.
 */
enum { NX_GIVEN_MAX = 8 };
typedef struct {
    const char *function; /* its __func__ */
    int n;
    struct {
        const char *name;
        nx_array *array;
        const nx_array_vec *list; /* instead of an array */
    } at[NX_GIVEN_MAX];
} nx_given;
extern _Thread_local nx_given nx_given_now;

static inline void nx_given_add(const char *function, const char *name, nx_array *a,
                                const nx_array_vec *list)
{
    nx_given *g = &nx_given_now;
    if (g->function != function || (g->n && g->at[0].name == name)) /* a call begins */
        g->n = 0;
    g->function = function;
    if (g->n < NX_GIVEN_MAX) {
        g->at[g->n].name = name;
        g->at[g->n].list = list;
        g->at[g->n++].array = a;
    }
}
static inline nx_array *nx_given_note(const char *function, const char *name, nx_array *a)
{
    if (a)
        nx_given_add(function, name, a, NULL);
    return a;
}
static inline const nx_array_vec *nx_given_note_list(const char *function, const char *name,
                                                     const nx_array_vec *list)
{
    nx_given_add(function, name, NULL, list);
    return list;
}
/* Reports this thread's message with the function's arrays after it. Returns 1. */
int nx_report_given(const char *function);

/* Makes *res refer to a, taking the caller's reference to it; what it held before is let go. */
void nx_handle_set_take(mlx_array *res, nx_array *a);
/* What a function that builds one array returns: *res gets its own reference to a. NULL: error. */
int nx_give(mlx_array *res, nx_array *a, const char *function);
/* The same for n arrays in a vector; ok false: error. */
int nx_give_vector(mlx_vector_array *res, bool ok, nx_array *const *a, size_t n,
                   const char *function);
/* A handle of its own for what a builder returned; empty, with the error reported, for NULL. */
mlx_array nx_handle_of(nx_array *a);

static inline void nx_scope_end(const nx_scope *scope)
{
    nx_scope_close(*scope);
}
/* A build scope that ends with the block. */
#define NX_SCOPE nx_scope scope_ __attribute__((cleanup(nx_scope_end), unused)) = nx_scope_open()

/* The object behind a handle; where it is empty, the function returns `fail` after reporting. */
#define NX_OBJECT_OR(type, handle, fail)                                                           \
    ({                                                                                             \
        type *object_ = (type *)(handle).ctx;                                                      \
        if (!object_) {                                                                            \
            nx_report_empty(__func__, #handle);                                                    \
            return fail;                                                                           \
        }                                                                                          \
        object_;                                                                                   \
    })
#define NX_OBJECT(type, handle) NX_OBJECT_OR(type, handle, 1)
#define NX_ARRAY(handle) nx_given_note(__func__, #handle, NX_OBJECT(nx_handle, handle)->array)
/* An optional array: NULL for an empty handle. */
#define NX_ARRAY_OR_NULL(handle)                                                                   \
    nx_given_note(__func__, #handle, (handle).ctx ? ((nx_handle *)(handle).ctx)->array : NULL)
#define NX_ARRAYS(handle)        NX_OBJECT(nx_array_vec, handle) /* nx_array_vec * */
#define NX_STREAM(handle)        NX_OBJECT(nx_stream, handle)
/* A pointer that must not be NULL. */
#define NX_POINTER(pointer)                                                                        \
    ({                                                                                             \
        if (!(pointer))                                                                            \
            return nx_report_empty(__func__, #pointer);                                            \
        (pointer);                                                                                 \
    })

/* A list of ints that the interface gives as `list` and `list_num`, checked, as two arguments:
 * pointer, int. Shapes and axes; a longer list is NX_LONG_INTS. */
#define NX_INTS(list)      NX_LIST(list, list##_num, NX_MAX_NDIM), (int)list##_num
#define NX_LONG_INTS(list) NX_LIST(list, list##_num, INT32_MAX), (int)list##_num
#define NX_LIST(list, n, most)                                                                     \
    ({                                                                                             \
        if ((n) > (size_t)(most)) {                                                                \
            nx_fail("[%s] %zu numbers in %s, at most %d are possible", __func__, (size_t)(n),      \
                    #list, (int)(most));                                                           \
            return nx_report();                                                                    \
        }                                                                                          \
        if ((n) && !(list))                                                                        \
            return nx_report_empty(__func__, #list);                                               \
        (list);                                                                                    \
    })

/* An element type, checked. */
#define NX_DTYPE(dtype)                                                                            \
    ({                                                                                             \
        if ((unsigned)(dtype) >= NX_DTYPE_COUNT) {                                                 \
            nx_fail("[%s] %d is no element type", __func__, (int)(dtype));                         \
            return nx_report();                                                                    \
        }                                                                                          \
        (nx_dtype)(dtype);                                                                         \
    })

#define NX_GIVE(expression)                                                                        \
    do {                                                                                           \
        NX_SCOPE;                                                                                  \
        return nx_give(res, (expression), __func__);                                               \
    } while (0)

/* The arrays of a vector as two arguments: nx_array *const *, int. */
#define NX_ARRAY_LIST(handle) NX_ARRAYS_NOTED(handle)->at, (int)NX_ARRAYS(handle)->n
#define NX_ARRAYS_NOTED(handle) nx_given_note_list(__func__, #handle, NX_ARRAYS(handle))

/* Room for n results, freed with the block; more than a node can have are refused. */
nx_array **nx_outputs_new(int64_t n);
static inline void nx_outputs_free(nx_array ***outputs)
{
    free(*outputs);
}
#define NX_OUTPUTS(name, n)                                                                        \
    nx_array **name __attribute__((cleanup(nx_outputs_free))) = nx_outputs_new(n);                 \
    if (!name)                                                                                     \
    return nx_report()
/* Evaluates a builder that fills n outputs, and puts them into the vector *res. */
#define NX_GIVE_VECTOR(outputs, n, expression)                                                     \
    do {                                                                                           \
        NX_SCOPE;                                                                                  \
        bool built_ = (expression);                                                                \
        return nx_give_vector(res, built_, outputs, (size_t)(n), __func__);                        \
    } while (0)

/* Whole functions of the most common forms. */
#define NX_UNARY(function, builder)                                                                \
    int function(mlx_array *res, const mlx_array a, const mlx_stream s)                            \
    {                                                                                              \
        NX_GIVE(builder(NX_ARRAY(a), NX_STREAM(s)));                                               \
    }
#define NX_BINARY(function, builder)                                                               \
    int function(mlx_array *res, const mlx_array a, const mlx_array b, const mlx_stream s)         \
    {                                                                                              \
        NX_GIVE(builder(NX_ARRAY(a), NX_ARRAY(b), NX_STREAM(s)));                                  \
    }

#endif
