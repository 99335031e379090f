/* transforms.h: evaluation. */
#include "engine/capi/capi.h"
#include "engine/core/eval.h"

static int eval(const nx_array_vec *v, bool wait)
{
    NX_SCOPE;
    if (v->n > INT32_MAX) {
        nx_fail("[eval] %zu arrays are more than can be evaluated at once", v->n);
        return nx_report();
    }
    return nx_status(nx_eval(v->at, (int)v->n, wait));
}

int mlx_eval(const mlx_vector_array outputs)
{
    return eval(NX_ARRAYS(outputs), true);
}

int mlx_async_eval(const mlx_vector_array outputs)
{
    return eval(NX_ARRAYS(outputs), false);
}
