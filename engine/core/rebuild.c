/* rebuild.c: operations that come from outside: their inputs counted, their outputs compared. */
#include "base/error.h"
#include "engine/core/prim.h"

static bool count_inputs(const nx_rebuild *r)
{
    const nx_prim *p = r->prim;
    if (r->n_in < p->least_in || (p->most_in && r->n_in > p->most_in))
        return nx_fail("[%s] %d inputs are %s", p->name, r->n_in,
                       r->n_in < p->least_in ? "too few" : "too many");
    return true;
}

static bool as_told(const nx_rebuild *r, const nx_array *a, int i)
{
    const nx_spec *t = &r->told[i];
    if (t->dtype == (nx_dtype)a->dtype && nx_shape_equal(t->shape, t->ndim, a->shape, a->ndim))
        return true;
    return nx_fail("[%s] the result is said to be %s %s, but it is %s %s", r->prim->name,
                   nx_dtype_name(t->dtype), nx_shape_text(t->shape, t->ndim),
                   nx_dtype_name((nx_dtype)a->dtype), nx_shape_text(a->shape, a->ndim));
}

bool nx_op_rebuild(const nx_rebuild *r, nx_array **out)
{
    if (!r->prim->rebuild)
        return nx_op_n(r->prim, r->params, r->in, r->n_in, r->s, out, r->n_out);
    if (!count_inputs(r) || !r->prim->rebuild(r, out))
        return false;
    for (int i = 0; i < r->n_out; i++)
        if (!out[i] || (r->told && !as_told(r, out[i], i)))
            return false;
    return true;
}
