/* vector.h: four kinds of vectors, each by vector_impl.h. */
#include "engine/capi/objects.h"

/* Arrays: each element is a counted reference. */
static bool array_copy(mlx_array from, nx_array **to)
{
    if (!from.ctx)
        return false;
    *to = nx_array_ref(((nx_handle *)from.ctx)->array);
    return true;
}

#define VECTOR(f)           mlx_vector_array_##f
#define HANDLE              mlx_vector_array
#define ITEMS               nx_array_vec
#define ITEM                nx_array *
#define IN                  const mlx_array
#define DATA                const mlx_array *
#define OUT                 mlx_array
#define COPY(in, to)        array_copy(in, to)
#define COPY_ITEM(item, to) (*(to) = nx_array_ref(item))
#define DROP(item)          nx_array_unref(&(item))
#define GIVE(item, res)     nx_handle_set_take(res, nx_array_ref(item))
#include "engine/capi/vector_impl.h"

void nx_vector_set(mlx_vector_array *res, nx_array *const *a, size_t n)
{
    nx_array_vec v = {0};
    nx_vec_reserve(&v, n);
    for (size_t i = 0; i < n; i++)
        v.at[i] = nx_array_ref(a[i]);
    v.n = n;
    mlx_vector_array_replace_(res, v);
}

nx_array **nx_outputs_new(int64_t n)
{
    if (n > UINT16_MAX)
        return nx_fail_null("[array] %lld results are too many, the limit is %d", (long long)n,
                            UINT16_MAX);
    return nx_calloc(n > 0 ? (size_t)n : 1, sizeof(nx_array *));
}

int nx_give_vector(mlx_vector_array *res, bool ok, nx_array *const *a, size_t n,
                   const char *function)
{
    if (!ok)
        return nx_report_given(function);
    nx_given_now.function = NULL;
    if (!res)
        return nx_report_empty(function, "res");
    nx_vector_set(res, a, n);
    return 0;
}

/* Vectors of arrays: each element is a copy of a vector. */
static void arrays_copy(const nx_array_vec *from, nx_array_vec *to)
{
    *to = (nx_array_vec){0};
    nx_vec_reserve(to, from->n);
    for (size_t i = 0; i < from->n; i++)
        to->at[i] = nx_array_ref(from->at[i]);
    to->n = from->n;
}

static bool vector_copy(mlx_vector_array from, nx_array_vec *to)
{
    if (!from.ctx)
        return false;
    arrays_copy(from.ctx, to);
    return true;
}

#define VECTOR(f)           mlx_vector_vector_array_##f
#define HANDLE              mlx_vector_vector_array
#define ITEMS               nx_array_vec_vec
#define ITEM                nx_array_vec
#define IN                  const mlx_vector_array
#define DATA                const mlx_vector_array *
#define OUT                 mlx_vector_array
#define COPY(in, to)        vector_copy(in, to)
#define COPY_ITEM(item, to) arrays_copy(&(item), to)
#define DROP(item)          mlx_vector_array_drop_(&(item))
#define GIVE(item, res)     nx_vector_set(res, (item).at, (item).n)
#include "engine/capi/vector_impl.h"

#define VECTOR(f)           mlx_vector_int_##f
#define HANDLE              mlx_vector_int
#define ITEMS               nx_int_vec
#define ITEM                int
#define IN                  int
#define DATA                int *
#define OUT                 int
#define COPY(in, to)        (*(to) = (in), true)
#define COPY_ITEM(item, to) (*(to) = (item))
#define DROP(item)          ((void)(item))
#define GIVE(item, res)     (*(res) = (item))
#include "engine/capi/vector_impl.h"

static bool text_copy(const char *from, char **to)
{
    if (!from)
        return false;
    *to = nx_strdup(from);
    return true;
}

#define VECTOR(f)           mlx_vector_string_##f
#define HANDLE              mlx_vector_string
#define ITEMS               nx_string_vec
#define ITEM                char *
#define IN                  const char *
#define DATA                const char **
#define OUT                 char *
#define COPY(in, to)        text_copy(in, to)
#define COPY_ITEM(item, to) text_copy(item, to)
#define DROP(item)          free(item)
#define GIVE(item, res)     (*(res) = (item))
#include "engine/capi/vector_impl.h"
