#include "engine/graph/print.h"

#include "base/error.h"
#include "engine/core/dtype.h"
#include "engine/graph/file_form.h"
#include "engine/ops/params.h"
#include "engine/ops/prims.h"

/* ---- names ---------------------------------------------------------------------------------- */

void nx_namer_clear(nx_namer *n)
{
    for (size_t i = 0; i < n->arrays.n; i++) {
        nx_array_unref(&n->arrays.at[i]);
        free(n->names.at[i]);
    }
    nx_vec_clear(&n->arrays);
    nx_vec_clear(&n->names);
    nx_ptr_map_clear(&n->index);
}

void nx_namer_set(nx_namer *n, nx_array *a, const char *name)
{
    const size_t *known = nx_ptr_map_find(&n->index, a);
    if (known) {
        free(n->names.at[*known]);
        n->names.at[*known] = nx_strdup(name);
        return;
    }
    nx_ptr_map_set(&n->index, a, n->arrays.n);
    nx_vec_push(&n->arrays, nx_array_ref(a));
    nx_vec_push(&n->names, nx_strdup(name));
}

const char *nx_namer_get(nx_namer *n, nx_array *a)
{
    const size_t *known = nx_ptr_map_find(&n->index, a);
    if (!known) {
        char name[16] = {0}, *at = name + sizeof name - 1;
        for (size_t number = n->arrays.n + 1; number > 0; number = (number - 1) / 26)
            *--at = (char)('A' + (number - 1) % 26);
        nx_namer_set(n, a, at);
        known = nx_ptr_map_find(&n->index, a);
    }
    return n->names.at[*known];
}

/* Of operations that are several, MLX shows which; the first of their parameters says it. */
static const struct {
    const nx_prim *prim;
    const char *names[6];
} several[] = {
    {&nx_prim_Log, {"Log2", "Log10", "Log"}},
    {&nx_prim_Equal, {"Equal", "NaNEqual"}},
    {&nx_prim_BitwiseBinary, {"BitwiseAnd", "BitwiseOr", "BitwiseXor", "LeftShift", "RightShift"}},
    {&nx_prim_Reduce, {"And", "Or", "Sum", "Prod", "Min", "Max"}},
    {&nx_prim_Scan, {"CumMax", "CumMin", "CumSum", "CumProd", "CumLogAddExp"}},
    {&nx_prim_Scatter, {"Scatter Max", "Scatter Min", "Scatter Sum", "Scatter Prod", "Scatter"}},
    {&nx_prim_ScatterAxis, {"ScatterAxis Sum", "ScatterAxis"}},
    {&nx_prim_SliceUpdate,
     {"SliceUpdate Max", "SliceUpdate Min", "SliceUpdate Sum", "SliceUpdate Prod", "SliceUpdate"}},
};

static const char *name_of(const nx_prim *prim, int which)
{
    for (size_t i = 0; i < sizeof several / sizeof *several; i++)
        if (several[i].prim == prim && which >= 0 && which < 6 && several[i].names[which])
            return several[i].names[which];
    return prim->name;
}

/* The first of its parameters, a number or a truth. */
static int which_of(const nx_node *n)
{
    const nx_field *f = n->prim->fields;
    if (!n->prim->n_fields || (f->type != NX_FIELD_BOOL && f->type != NX_FIELD_INT && f->type != NX_FIELD_ENUM))
        return -1;
    const char *at = (const char *)n->params + f->offset;
    return f->type == NX_FIELD_BOOL ? *(const bool *)at : *(const int *)at;
}

/* All that it does in one word, as MLX has it, which counts what is repeated for it as its own. */
static void show_compiled(FILE *f, const nx_node *n)
{
    const nx_compiled_params *p = n->params;
    bool repeated[NX_FUSED_IN] = {0};
    fputs(n->prim->name, f);
    for (int i = 0; i < p->n_ops; i++) {
        for (int k = 0; k < p->op[i].n_in; k++) {
            int in = p->op[i].in[k];
            if (in >= n->n_in || repeated[in] || n->in[in]->node->prim != &nx_prim_Broadcast)
                continue;
            repeated[in] = true;
            fputs(nx_prim_Broadcast.name, f);
        }
        fputs(name_of(nx_prim_of(p->op[i].prim), p->op[i].variant), f);
    }
}

static void show_name(FILE *f, const nx_node *n)
{
    if (n->prim == &nx_prim_Compiled)
        show_compiled(f, n);
    else
        fputs(name_of(n->prim, which_of(n)), f);
}

/* ---- the walk: every source and every operation once, inputs first --------------------------- */

typedef struct {
    nx_array *array;
    int next;
} frame;

typedef struct {
    FILE *f;
    nx_namer *names;
    nx_ptr_map outputs; /* the arrays asked for */
    bool any;           /* a source was printed already */
} printer;

/* Of an operation all outputs are one; a source stands for itself. */
static const void *key_of(const nx_array *a)
{
    return a->node->prim ? (const void *)a->node : (const void *)a;
}

static void walk(printer *p, nx_array *const *outputs, size_t n, void (*visit)(printer *, nx_array *))
{
    nx_ptr_map seen = {0};
    NX_VEC(frame) stack = {0};
    for (size_t i = 0; i < n; i++) {
        if (nx_ptr_map_find(&seen, key_of(outputs[i])))
            continue;
        nx_ptr_map_set(&seen, key_of(outputs[i]), 0);
        nx_vec_push(&stack, (frame){outputs[i], 0});
        while (stack.n) {
            frame *f = &nx_vec_last(&stack);
            if (f->next == f->array->node->n_in) {
                visit(p, f->array);
                stack.n--;
                continue;
            }
            nx_array *in = f->array->node->in[f->next++];
            if (nx_array_is_none(in) || nx_ptr_map_find(&seen, key_of(in)))
                continue;
            nx_ptr_map_set(&seen, key_of(in), 0);
            nx_vec_push(&stack, (frame){in, 0});
        }
    }
    nx_vec_clear(&stack);
    nx_ptr_map_clear(&seen);
}

static printer printer_new(FILE *f, nx_namer *names, nx_array *const *outputs, size_t n)
{
    printer p = {.f = f, .names = names};
    for (size_t i = 0; i < n; i++)
        nx_ptr_map_set(&p.outputs, outputs[i], i);
    return p;
}

/* ---- dot ------------------------------------------------------------------------------------ */

/* Names may be anything: quotes and backslashes are escaped. */
static void quoted(printer *p, nx_array *a)
{
    fputc('"', p->f);
    for (const char *c = nx_namer_get(p->names, a); *c; c++) {
        if (*c == '"' || *c == '\\')
            fputc('\\', p->f);
        fputc(*c, p->f);
    }
    fputc('"', p->f);
}

static void dot_source(printer *p, nx_array *a)
{
    fprintf(p->f, "{ rank=source; ");
    quoted(p, a);
    fprintf(p->f, "; }\n");
}

static void dot_visit(printer *p, nx_array *a)
{
    nx_node *n = a->node;
    unsigned long long id = (unsigned long long)(uintptr_t)n;
    if (!n->prim) {
        dot_source(p, a);
        return;
    }
    fprintf(p->f, "{ %llu [label =\"", id);
    show_name(p->f, n);
    fprintf(p->f, "\", shape=rectangle]; }\n");
    for (int i = 0; i < n->n_in; i++) {
        if (nx_array_is_none(n->in[i]))
            continue;
        quoted(p, n->in[i]);
        fprintf(p->f, " -> %llu\n", id);
    }
    for (int i = 0; i < n->n_out; i++) {
        bool asked = nx_ptr_map_find(&p->outputs, &n->out[i]) != NULL;
        fprintf(p->f, asked ? "{ rank=sink; " : "{ ");
        quoted(p, &n->out[i]);
        fprintf(p->f, "; }\n%llu -> ", id);
        quoted(p, &n->out[i]);
        fputc('\n', p->f);
    }
}

void nx_graph_dot(FILE *f, nx_namer *names, nx_array *const *outputs, size_t n)
{
    printer p = printer_new(f, names, outputs, n);
    fprintf(f, "digraph {\n");
    walk(&p, outputs, n, dot_visit);
    fprintf(f, "}");
    nx_ptr_map_clear(&p.outputs);
}

/* ---- text ----------------------------------------------------------------------------------- */

static void named(printer *p, nx_array *a, bool first)
{
    fprintf(p->f, "%s%s [%s, %s]", first ? "" : ", ", nx_namer_get(p->names, a),
            nx_shape_text(a->shape, a->ndim), nx_dtype_name((nx_dtype)a->dtype));
}

static void text_source(printer *p, nx_array *a)
{
    if (a->node->prim)
        return;
    named(p, a, !p->any);
    p->any = true;
}

static void text_operation(printer *p, nx_array *a)
{
    nx_node *n = a->node;
    if (!n->prim)
        return;
    show_name(p->f, n);
    fputc(' ', p->f);
    bool first = true;
    for (int i = 0; i < n->n_in; i++) {
        if (nx_array_is_none(n->in[i]))
            continue;
        named(p, n->in[i], first);
        first = false;
    }
    fprintf(p->f, " -> ");
    for (int i = 0; i < n->n_out; i++)
        named(p, &n->out[i], i == 0);
    fputc('\n', p->f);
}

void nx_graph_print(FILE *f, nx_namer *names, nx_array *const *outputs, size_t n)
{
    printer p = printer_new(f, names, outputs, n);
    fprintf(f, "Inputs: ");
    walk(&p, outputs, n, text_source);
    fprintf(f, "\nOutputs: ");
    for (size_t i = 0; i < n; i++)
        named(&p, outputs[i], i == 0);
    fputc('\n', f);
    walk(&p, outputs, n, text_operation);
    nx_ptr_map_clear(&p.outputs);
}
