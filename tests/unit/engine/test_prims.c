/* A walk over the table of primitives: each has what the evaluator and the transforms ask of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "engine/core/backend.h"
#include "engine/core/stream.h"
#include "engine/core/prim.h"
#include "engine/ops/prims.h"

static const nx_prim *const all[] = {
#define NX_PRIM(name) [NX_PRIM_##name] = &nx_prim_##name,
#include "engine/ops/prims.def"
#undef NX_PRIM
};

/* Without inputs there is nothing to derive by and nothing to batch. */
static bool has_no_inputs(const nx_prim *p)
{
    return p->id == NX_PRIM_Arange || p->id == NX_PRIM_Recv;
}

/* What only stands for something else while a function is traced. */
static bool is_stand_in(const nx_prim *p)
{
    return p->id == NX_PRIM_Placeholder;
}

static const char *name_missing;

/* The name of the first primitive without what `has` looks for, so that the failure says it. */
static const char *first_without(bool (*has)(const nx_prim *p))
{
    name_missing = NULL;
    for (int i = 0; i < NX_PRIM_COUNT && !name_missing; i++)
        if (!is_stand_in(all[i]) && !has(all[i]))
            name_missing = all[i]->name;
    return name_missing ? name_missing : "none";
}

static bool is_named(const nx_prim *p)
{
    return p->name && p->name[0] && p->infer && all[p->id] == p;
}

static bool is_computed(const nx_prim *p)
{
    const nx_backend *cpu = nx_device_backend((nx_device){NX_CPU, 0});
    return cpu->kernels()[p->id].run || p->host || p->view || p->decompose;
}

/* Views answer on the host; where their answer may be no, a kernel copies. */
static bool is_view_by_flag(const nx_prim *p)
{
    return !(p->flags & NX_PRIM_VIEW) == !p->view;
}

static bool has_derivative(const nx_prim *p)
{
    /* As in MLX an error says so: what was sent is another process's to derive by, and factorizations
     * are unique up to signs and order alone. */
    static const int refused[] = {NX_PRIM_Send, NX_PRIM_QRF, NX_PRIM_SVD, NX_PRIM_LUF, NX_PRIM_Eig,
                                  NX_PRIM_Eigh};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        if (p->id == refused[i])
            return true;
    return p->vjp || p->flags & NX_PRIM_NO_GRAD || has_no_inputs(p);
}

static bool has_batching(const nx_prim *p)
{
    unsigned without = NX_PRIM_ELEMENTWISE | NX_PRIM_VMAP_SLICES;
    return p->vmap || p->flags & without || has_no_inputs(p);
}

/* A parameter struct that no field table describes cannot be compared, printed or exported: right for
 * functions and for what happens between processes, and for nothing else. */
static bool has_fields(const nx_prim *p)
{
    return !p->params_size || p->n_fields || p->params_ref || p->flags & NX_PRIM_WAITS;
}

static void all_are_named(void **state)
{
    assert_string_equal(first_without(is_named), "none");
}

static void all_can_be_computed(void **state)
{
    assert_string_equal(first_without(is_computed), "none");
    assert_string_equal(first_without(is_view_by_flag), "none");
}

static void all_have_derivatives_or_say_why_not(void **state)
{
    assert_string_equal(first_without(has_derivative), "none");
}

static void all_can_be_batched(void **state)
{
    assert_string_equal(first_without(has_batching), "none");
}

static void all_parameters_are_described(void **state)
{
    assert_string_equal(first_without(has_fields), "none");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_are_named),
        cmocka_unit_test(all_can_be_computed),
        cmocka_unit_test(all_have_derivatives_or_say_why_not),
        cmocka_unit_test(all_can_be_batched),
        cmocka_unit_test(all_parameters_are_described),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
