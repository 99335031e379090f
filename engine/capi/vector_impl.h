/*
 * vector_impl.h: the functions of one kind of vector. Included once a kind by vector.c, which
 * defines before:
 *
 *   VECTOR(f)      the public name of function f         HANDLE   the public handle
 *   ITEMS          the NX_VEC behind it                  ITEM     what it holds
 *   IN, DATA, OUT  a value, a pointer to values, and the result of get, as the interface has them
 *   COPY(in, to)   makes *to an item of its own; false for a value that cannot be one
 *   COPY_ITEM(item, to)   the same from an item          DROP(item)   frees an item
 *   GIVE(item, res)       puts an item into *res
 */

static void VECTOR(drop_)(ITEMS *v)
{
    for (size_t i = 0; i < v->n; i++)
        DROP(v->at[i]);
    nx_vec_clear(v);
}

/* Appends copies; false, with v unchanged, where one cannot be had. */
static bool VECTOR(add_)(ITEMS *v, DATA data, size_t size, const char *function)
{
    if (size > SIZE_MAX / 2 / sizeof(ITEM) - v->n || (size && !data))
        return nx_fail("[%s] %zu elements at a %s", function, size,
                       data ? "pointer" : "NULL pointer");
    nx_vec_reserve(v, size);
    for (size_t i = 0; i < size; i++) {
        if (!COPY(data[i], &v->at[v->n + i])) {
            for (size_t k = 0; k < i; k++)
                DROP(v->at[v->n + k]);
            return nx_fail("[%s] element %zu is empty", function, i);
        }
    }
    v->n += size;
    return true;
}

/* Puts new content in place of the old. */
static void VECTOR(replace_)(HANDLE *vec, ITEMS take)
{
    ITEMS *v = vec->ctx;
    if (v)
        VECTOR(drop_)(v);
    else
        vec->ctx = v = nx_malloc(sizeof *v);
    *v = take;
}

HANDLE VECTOR(new)(void)
{
    return (HANDLE){nx_calloc(1, sizeof(ITEMS))};
}

int VECTOR(free)(HANDLE vec)
{
    if (vec.ctx)
        VECTOR(drop_)(vec.ctx);
    free(vec.ctx);
    return 0;
}

int VECTOR(set)(HANDLE *vec, const HANDLE src)
{
    const ITEMS *from = NX_OBJECT(ITEMS, src);
    ITEMS v = {0};
    NX_POINTER(vec);
    nx_vec_reserve(&v, from->n);
    for (size_t i = 0; i < from->n; i++)
        COPY_ITEM(from->at[i], &v.at[i]);
    v.n = from->n;
    VECTOR(replace_)(vec, v);
    return 0;
}

int VECTOR(set_data)(HANDLE *vec, DATA data, size_t size)
{
    ITEMS v = {0};
    NX_POINTER(vec);
    if (!VECTOR(add_)(&v, data, size, __func__)) {
        nx_vec_clear(&v);
        return nx_report();
    }
    VECTOR(replace_)(vec, v);
    return 0;
}

int VECTOR(set_value)(HANDLE *vec, IN val)
{
    return VECTOR(set_data)(vec, &val, 1);
}

HANDLE VECTOR(new_data)(DATA data, size_t size)
{
    HANDLE vec = {NULL};
    VECTOR(set_data)(&vec, data, size);
    return vec;
}

HANDLE VECTOR(new_value)(IN val)
{
    return VECTOR(new_data)(&val, 1);
}

int VECTOR(append_data)(HANDLE vec, DATA data, size_t size)
{
    return nx_status(VECTOR(add_)(NX_OBJECT(ITEMS, vec), data, size, __func__));
}

int VECTOR(append_value)(HANDLE vec, IN val)
{
    return VECTOR(append_data)(vec, &val, 1);
}

size_t VECTOR(size)(HANDLE vec)
{
    return NX_OBJECT_OR(ITEMS, vec, 0)->n;
}

int VECTOR(get)(OUT *res, const HANDLE vec, size_t idx)
{
    const ITEMS *v = NX_OBJECT(ITEMS, vec);
    NX_POINTER(res);
    if (idx >= v->n) {
        nx_fail("[%s] index %zu is outside a vector of %zu elements", __func__, idx, v->n);
        return nx_report();
    }
    GIVE(v->at[idx], res);
    return 0;
}

#undef VECTOR
#undef HANDLE
#undef ITEMS
#undef ITEM
#undef IN
#undef DATA
#undef OUT
#undef COPY
#undef COPY_ITEM
#undef DROP
#undef GIVE
