/* export.h: functions into files and out of them. */
#include "engine/graph/export.h"

#include <string.h>

#include "engine/capi/closure.h"

/* ---- arguments: those by place, then those by name in the order of the names ------------------ */

typedef struct {
    nx_array **at;
    size_t n, n_names;
    const char **names;
} arguments;

static int by_key(const void *a, const void *b)
{
    return strcmp((*(const nx_map_entry *const *)a)->key, (*(const nx_map_entry *const *)b)->key);
}

static arguments arguments_of(const nx_array_vec *plain, const nx_map *named)
{
    arguments a = {.n_names = named ? named->n : 0};
    const nx_map_entry **order = nx_malloc((a.n_names + 1) * sizeof *order);
    for (size_t i = 0; i < a.n_names; i++)
        order[i] = &named->entries[i];
    qsort(order, a.n_names, sizeof *order, by_key);
    a.at = nx_malloc((plain->n + a.n_names + 1) * sizeof *a.at);
    a.names = nx_malloc((a.n_names + 1) * sizeof *a.names);
    for (size_t i = 0; i < plain->n; i++)
        a.at[a.n++] = plain->at[i];
    for (size_t i = 0; i < a.n_names; i++) {
        a.names[i] = order[i]->key;
        a.at[a.n++] = (nx_array *)(uintptr_t)order[i]->value;
    }
    free(order);
    return a;
}

static void arguments_free(arguments *a)
{
    free(a->at);
    free(a->names);
}

/* ---- functions to be traced ------------------------------------------------------------------- */

typedef struct {
    nx_closure *closure;
    const arguments *given;
    bool by_name; /* it takes a map; else it never sees what has a name */
} traced;

static bool call_traced(void *self, nx_array *const *in, size_t n, nx_array_vec *out)
{
    const traced *t = self;
    const arguments *a = t->given;
    return t->by_name ? nx_closure_call_kwargs(t->closure, in, n, a->names, a->n_names, out)
                      : nx_closure_call(t->closure, in, n - a->n_names, out);
}

static bool add(nx_exporter *e, nx_closure *c, bool by_name, const nx_array_vec *plain,
                const nx_map *named)
{
    arguments a = arguments_of(plain, named);
    traced t = {c, &a, by_name};
    bool ok = nx_exporter_add(e, (nx_function){call_traced, &t}, a.at, a.n, a.names, a.n_names);
    arguments_free(&a);
    return ok;
}

static int export_one(const char *file, nx_closure *c, bool by_name, const nx_array_vec *plain,
                      const nx_map *named, bool shapeless)
{
    NX_SCOPE;
    nx_exporter *e = nx_exporter_new(file, shapeless);
    bool ok = e && add(e, c, by_name, plain, named) && nx_exporter_finish(e);
    nx_exporter_free(e);
    return nx_status(ok);
}

int mlx_export_function(const char *file, const mlx_closure fun, const mlx_vector_array args,
                        bool shapeless)
{
    nx_closure *c = NX_OBJECT(nx_closure_cell, fun)->closure;
    return export_one(NX_POINTER(file), c, false, NX_ARRAYS(args), NULL, shapeless);
}

int mlx_export_function_kwargs(const char *file, const mlx_closure_kwargs fun,
                               const mlx_vector_array args, const mlx_map_string_to_array kwargs,
                               bool shapeless)
{
    nx_closure *c = NX_OBJECT(nx_closure_cell, fun)->closure;
    return export_one(NX_POINTER(file), c, true, NX_ARRAYS(args), NX_OBJECT(nx_map, kwargs), shapeless);
}

/* ---- exporters -------------------------------------------------------------------------------- */

typedef struct {
    nx_exporter *exporter;
    nx_closure *closure;
} function_exporter;

mlx_function_exporter mlx_function_exporter_new(const char *file, const mlx_closure fun,
                                                bool shapeless)
{
    const mlx_function_exporter none = {NULL};
    nx_closure *c = NX_OBJECT_OR(nx_closure_cell, fun, none)->closure;
    if (!file) {
        nx_report_empty(__func__, "file");
        return none;
    }
    nx_exporter *e = nx_exporter_new(file, shapeless);
    if (!e) {
        nx_report();
        return none;
    }
    function_exporter *x = nx_malloc(sizeof *x);
    *x = (function_exporter){e, nx_closure_ref(c)};
    return (mlx_function_exporter){x};
}

int mlx_function_exporter_free(mlx_function_exporter xfunc)
{
    function_exporter *x = xfunc.ctx;
    if (!x)
        return 0;
    bool ok = nx_exporter_finish(x->exporter);
    nx_exporter_free(x->exporter);
    nx_closure_unref(&x->closure);
    free(x);
    return nx_status(ok);
}

int mlx_function_exporter_apply(const mlx_function_exporter xfunc, const mlx_vector_array args)
{
    NX_SCOPE;
    function_exporter *x = NX_OBJECT(function_exporter, xfunc);
    return nx_status(add(x->exporter, x->closure, false, NX_ARRAYS(args), NULL));
}

int mlx_function_exporter_apply_kwargs(const mlx_function_exporter xfunc,
                                       const mlx_vector_array args,
                                       const mlx_map_string_to_array kwargs)
{
    NX_SCOPE;
    function_exporter *x = NX_OBJECT(function_exporter, xfunc);
    return nx_status(
        add(x->exporter, x->closure, false, NX_ARRAYS(args), NX_OBJECT(nx_map, kwargs)));
}

/* ---- imported functions ----------------------------------------------------------------------- */

mlx_imported_function mlx_imported_function_new(const char *file)
{
    nx_imported *f = NULL;
    if (!file)
        nx_report_empty(__func__, "file");
    else if (!(f = nx_import(file)))
        nx_report();
    return (mlx_imported_function){f};
}

int mlx_imported_function_free(mlx_imported_function xfunc)
{
    nx_imported_free(xfunc.ctx);
    return 0;
}

static int apply(mlx_vector_array *res, const nx_imported *f, const nx_array_vec *plain,
                 const nx_map *named)
{
    NX_SCOPE;
    nx_array_vec out = {0};
    arguments a = arguments_of(plain, named);
    bool ok = nx_imported_call(f, a.at, a.n, a.names, a.n_names, &out);
    if (ok)
        nx_vector_set(res, out.at, out.n);
    nx_vec_clear(&out);
    arguments_free(&a);
    return nx_status(ok);
}

int mlx_imported_function_apply(mlx_vector_array *res, const mlx_imported_function xfunc,
                                const mlx_vector_array args)
{
    return apply(NX_POINTER(res), NX_OBJECT(nx_imported, xfunc), NX_ARRAYS(args), NULL);
}

int mlx_imported_function_apply_kwargs(mlx_vector_array *res, const mlx_imported_function xfunc,
                                       const mlx_vector_array args,
                                       const mlx_map_string_to_array kwargs)
{
    return apply(NX_POINTER(res), NX_OBJECT(nx_imported, xfunc), NX_ARRAYS(args),
                 NX_OBJECT(nx_map, kwargs));
}
