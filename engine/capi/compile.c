/* compile.h */
#include <string.h>

#include "engine/capi/closure.h"
#include "engine/graph/compile.h"

/* What mlx_compile returns. */
typedef struct {
    nx_closure *fun;
    uintptr_t id;
    bool own_id; /* the traces end with this */
    bool shapeless;
    size_t n_constants;
    uint64_t constants[];
} compiled;

static void compiled_free(void *payload)
{
    compiled *c = payload;
    if (c->own_id)
        nx_compile_erase(c->id);
    nx_closure_unref(&c->fun);
    free(c);
}

static int compiled_call(mlx_vector_array *res, const mlx_vector_array input, void *payload)
{
    const compiled *c = payload;
    const nx_array_vec *in = NX_ARRAYS(input);
    nx_array_vec out = {0};
    NX_SCOPE;
    bool ok = nx_compile_call(nx_closure_function(c->fun), c->id, c->shapeless, c->constants,
                              c->n_constants, in->at, in->n, &out);
    if (ok)
        nx_vector_set(res, out.at, out.n);
    nx_vec_clear(&out);
    return ok ? 0 : NX_CLOSURE_FAILED;
}

static compiled *compiled_new(nx_closure *fun, bool shapeless, const uint64_t *constants, size_t n)
{
    compiled *c = nx_malloc(sizeof *c + n * sizeof *constants);
    *c = (compiled){.fun = nx_closure_ref(fun), .shapeless = shapeless, .n_constants = n};
    if (n)
        memcpy(c->constants, constants, n * sizeof *constants);
    return c;
}

static int give(mlx_closure *res, compiled *take)
{
    nx_closure_give(&res->ctx,
                    nx_closure_cell_new((void (*)(void))compiled_call, take, compiled_free));
    return 0;
}

int mlx_compile(mlx_closure *res, const mlx_closure fun, bool shapeless)
{
    nx_closure *f = NX_OBJECT(nx_closure_cell, fun)->closure;
    NX_POINTER(res);
    compiled *c = compiled_new(f, shapeless, NULL, 0);
    c->id = (uintptr_t)c; /* as long as it lives, no other function has it */
    c->own_id = true;
    return give(res, c);
}

int mlx_detail_compile(mlx_closure *res, const mlx_closure fun, uintptr_t fun_id, bool shapeless,
                       const uint64_t *constants, size_t constants_num)
{
    nx_closure *f = NX_OBJECT(nx_closure_cell, fun)->closure;
    NX_POINTER(res);
    NX_LIST(constants, constants_num, INT32_MAX);
    compiled *c = compiled_new(f, shapeless, constants, constants_num);
    c->id = fun_id;
    return give(res, c);
}

int mlx_detail_compile_clear_cache(void)
{
    nx_compile_clear();
    return 0;
}

int mlx_detail_compile_erase(uintptr_t fun_id)
{
    nx_compile_erase(fun_id);
    return 0;
}

int mlx_disable_compile(void)
{
    nx_compile_set_mode(NX_COMPILE_DISABLED);
    return 0;
}

int mlx_enable_compile(void)
{
    nx_compile_set_mode(NX_COMPILE_ENABLED);
    return 0;
}

int mlx_set_compile_mode(mlx_compile_mode mode)
{
    static const nx_compile_mode modes[] = {
        [MLX_COMPILE_MODE_DISABLED] = NX_COMPILE_DISABLED,
        [MLX_COMPILE_MODE_NO_SIMPLIFY] = NX_COMPILE_NO_SIMPLIFY,
        [MLX_COMPILE_MODE_NO_FUSE] = NX_COMPILE_NO_FUSE,
        [MLX_COMPILE_MODE_ENABLED] = NX_COMPILE_ENABLED,
    };
    if ((unsigned)mode > MLX_COMPILE_MODE_ENABLED) {
        nx_fail("[set_compile_mode] %d is no compile mode", (int)mode);
        return nx_report();
    }
    nx_compile_set_mode(modes[mode]);
    return 0;
}
