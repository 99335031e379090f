/*
 * import.c: files of functions read. Nothing in them is believed: an operation is built by what
 * checks a program's own calls, and must have the outputs that the file says.
 */
#include "base/error.h"
#include "base/map.h"
#include "base/mmap.h"
#include "engine/core/scope.h"
#include "engine/graph/export.h"
#include "engine/graph/file_form.h"
#include "engine/graph/tape.h"
#include "engine/ops/creation.h"

typedef struct {
    size_t n, n_names;
    nx_spec *specs; /* [n], of the inputs; the last n_names have names */
    char **names;
    nx_tape tape;
    bool has_tape;
    int64_t largest; /* elements of an array of the trace */
} function;

struct nx_imported {
    bool shapeless;
    NX_VEC(function) functions;
};

/* While a file is read. */
typedef struct {
    nx_bytes b;
    nx_mapping *file;
    nx_map constants; /* id -> array, of all traces */
    nx_map arrays;    /* id -> array, of this trace */
    int64_t largest;
    bool shapeless;
} reader;

static nx_array *find(const nx_map *m, uint64_t id)
{
    return (nx_array *)(uintptr_t)nx_map_get(m, (const char *)&id, sizeof id, 0);
}

/* An id stands for one array only. */
static bool define(reader *r, nx_map *m, uint64_t id, nx_array *a)
{
    if (a->size > r->largest)
        r->largest = a->size;
    return nx_map_set(m, (const char *)&id, sizeof id, (uint64_t)(uintptr_t)a) ||
           nx_fail("[import_function] %s has two arrays of number %llu", r->b.name,
                   (unsigned long long)id);
}

static nx_array *lookup(const reader *r, uint64_t id)
{
    nx_array *a = find(&r->arrays, id);
    return a ? a
             : nx_fail_null("[import_function] %s uses array %llu before it is there", r->b.name,
                            (unsigned long long)id);
}

/* ---- the parts of an entry ------------------------------------------------------------------- */

static bool take_spec(nx_bytes *b, nx_spec *spec)
{
    return nx_take_shape(b, spec) && nx_take_dtype(b, &spec->dtype);
}

/* Elements in the file's own memory, where they lie well; else a copy. */
static nx_array *take_elements(reader *r, const nx_spec *spec)
{
    size_t size = nx_dtype_size(spec->dtype);
    size_t bytes = (size_t)nx_shape_size(spec->shape, spec->ndim) * size;
    if ((size_t)(r->b.end - r->b.at) < bytes)
        return nx_fail_null("[import_function] %s is truncated in a constant", r->b.name);
    const unsigned char *at = r->b.at;
    r->b.at += bytes;
    if (spec->dtype != NX_BOOL && bytes && (uintptr_t)at % size == 0)
        return nx_array_wrap((void *)at, spec->shape, spec->ndim, spec->dtype, nx_mapping_drop,
                             nx_mapping_ref(r->file));
    nx_array *a = nx_array_from_data(at, spec->shape, spec->ndim, spec->dtype);
    for (size_t i = 0; a && spec->dtype == NX_BOOL && i < bytes; i++)
        a->data[i] = a->data[i] != 0;
    return a;
}

static bool take_leaf(reader *r, uint64_t id)
{
    bool constant;
    nx_spec spec;
    if (!nx_take_flag(&r->b, &constant))
        return false;
    if (!constant) /* an input, known from the signature */
        return lookup(r, id) != NULL;
    nx_array *a = find(&r->constants, id);
    if (!a) {
        a = take_spec(&r->b, &spec) ? take_elements(r, &spec) : NULL;
        if (!a || !define(r, &r->constants, id, a))
            return false;
    }
    return define(r, &r->arrays, id, a);
}

static bool take_inputs(reader *r, nx_array_vec *in)
{
    size_t n;
    bool ok = nx_take_length(&r->b, 8, &n);
    for (size_t i = 0; ok && i < n; i++) {
        uint64_t id;
        nx_array *a = nx_take_u64(&r->b, &id) ? lookup(r, id) : NULL;
        ok = a != NULL;
        nx_vec_push(in, a);
    }
    return ok;
}

/* Which outputs an operation has. */
typedef struct {
    size_t n;
    uint64_t *ids;
    nx_spec *specs;
} outputs;

static bool same_length(reader *r, size_t item, size_t n)
{
    size_t m;
    return nx_take_length(&r->b, item, &m) &&
           (m == n || nx_fail("[import_function] %s lists %zu of %zu outputs", r->b.name, m, n));
}

static bool take_outputs(reader *r, uint64_t id, outputs *o)
{
    uint64_t siblings;
    if (!nx_take_u64(&r->b, &siblings))
        return false;
    if (siblings >= UINT16_MAX || siblings > (uint64_t)(r->b.end - r->b.at) / 8)
        return nx_fail("[import_function] %s has an operation of %llu outputs", r->b.name,
                       (unsigned long long)siblings);
    o->n = (size_t)siblings + 1;
    o->ids = nx_calloc(o->n, sizeof *o->ids);
    o->specs = nx_calloc(o->n, sizeof *o->specs);
    o->ids[0] = id;
    if (!siblings)
        return take_spec(&r->b, &o->specs[0]);
    bool ok = same_length(r, 8, o->n);
    for (size_t i = 0; ok && i < o->n; i++)
        ok = nx_take_u64(&r->b, &o->ids[i]);
    ok = ok && same_length(r, 8, o->n);
    for (size_t i = 0; ok && i < o->n; i++)
        ok = nx_take_shape(&r->b, &o->specs[i]);
    ok = ok && same_length(r, 5, o->n);
    for (size_t i = 0; ok && i < o->n; i++)
        ok = nx_take_dtype(&r->b, &o->specs[i].dtype);
    return ok;
}

static bool build(reader *r, const nx_prim *p, const void *params, const nx_array_vec *in,
                  const outputs *o)
{
    nx_array **made = nx_calloc(o->n, sizeof *made);
    nx_rebuild x = {.prim = p, .in = in->at, .n_in = (int)in->n, .n_out = (int)o->n, .params = params,
                    .told = o->specs, .s = nx_stream_default(nx_device_default())};
    bool ok = (in->n <= INT32_MAX && nx_op_rebuild(&x, made)) ||
              nx_fail_in("[import_function] %s", r->b.name);
    for (size_t i = 0; ok && i < o->n; i++)
        ok = define(r, &r->arrays, o->ids[i], made[i]);
    free(made);
    return ok;
}

static bool take_operation(reader *r, uint64_t id)
{
    _Alignas(16) char params[NX_PARAMS_MAX];
    nx_array_vec in = {0};
    outputs o = {0};
    nx_str name = {0};
    const nx_prim *p = NULL;
    uint32_t stream;
    bool ok = take_inputs(r, &in);
    for (int i = 0; ok && i < 3; i++) /* the stream it was on: here all run on the default one */
        ok = nx_take_u32(&r->b, &stream);
    ok = ok && nx_take_text(&r->b, &name) &&
         (p = nx_take_state(&r->b, nx_str_cstr(&name), params)) != NULL && take_outputs(r, id, &o) &&
         build(r, p, params, &in, &o);
    free(o.ids);
    free(o.specs);
    nx_vec_clear(&in);
    nx_str_clear(&name);
    return ok;
}

/* ---- traces ---------------------------------------------------------------------------------- */

static bool take_names(reader *r, function *f)
{
    nx_str name = {0};
    bool ok = nx_take_length(&r->b, 8, &f->n_names);
    f->names = nx_calloc((ok ? f->n_names : 0) + 1, sizeof *f->names);
    for (size_t i = 0; ok && i < f->n_names; i++) {
        ok = nx_take_text(&r->b, &name);
        f->names[i] = nx_strdup(nx_str_cstr(&name));
        if (ok && i && strcmp(f->names[i - 1], f->names[i]) >= 0)
            ok = nx_fail("[import_function] %s has names out of order", r->b.name);
    }
    nx_str_clear(&name);
    return ok;
}

/* Placeholders for the inputs, under their ids. */
static bool take_signature(reader *r, function *f, nx_array_vec *sources)
{
    nx_bytes ids;
    size_t n;
    if (!take_names(r, f) || !nx_take_length(&r->b, 8, &f->n))
        return false;
    ids = r->b;
    r->b.at += 8 * f->n;
    f->specs = nx_calloc(f->n + 1, sizeof *f->specs);
    if (!nx_take_length(&r->b, 13, &n))
        return false;
    if (n != f->n || f->n_names > n)
        return nx_fail("[import_function] %s has %zu shapes for %zu inputs, %zu of them with names",
                       r->b.name, n, f->n, f->n_names);
    for (size_t i = 0; i < n; i++) {
        uint64_t id;
        nx_spec *spec = &f->specs[i];
        if (!take_spec(&r->b, spec) || !nx_take_u64(&ids, &id))
            return false;
        nx_array *a = nx_placeholder(spec->shape, spec->ndim, spec->dtype,
                                     nx_stream_default(nx_device_default()));
        nx_vec_push(sources, a);
        if (!define(r, &r->arrays, id, a))
            return false;
    }
    return true;
}

static bool take_entries(reader *r)
{
    size_t n;
    bool ok = nx_take_length(&r->b, 10, &n);
    for (size_t i = 0; ok && i < n; i++) {
        uint64_t id;
        bool operation;
        ok = nx_take_u64(&r->b, &id) && nx_take_flag(&r->b, &operation) &&
             (operation ? take_operation(r, id) : take_leaf(r, id));
    }
    return ok;
}

static bool take_results(reader *r, nx_bytes *ids, size_t n, nx_array_vec *results)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t id;
        nx_array *a = nx_take_u64(ids, &id) ? lookup(r, id) : NULL;
        if (!a)
            return false;
        nx_vec_push(results, a);
    }
    return true;
}

static bool take_function(reader *r, function *f)
{
    nx_array_vec sources = {0}, results = {0};
    size_t n;
    bool ok = take_signature(r, f, &sources) && nx_take_length(&r->b, 8, &n);
    nx_bytes ids = r->b;
    if (ok)
        r->b.at += 8 * n;
    ok = ok && take_entries(r) && take_results(r, &ids, n, &results);
    f->largest = r->largest;
    r->largest = 0;
    if (ok) {
        nx_tape_init(&f->tape, sources.at, sources.n, results.at, results.n, true, r->shapeless);
        f->has_tape = true;
    }
    nx_vec_clear(&sources);
    nx_vec_clear(&results);
    nx_map_clear(&r->arrays);
    return ok;
}

static bool take_file(reader *r, nx_imported *f)
{
    nx_str version = {0};
    uint32_t n;
    bool ok = nx_take_text(&r->b, &version) && nx_take_u32(&r->b, &n) && nx_take_flag(&r->b, &r->shapeless);
    nx_str_clear(&version);
    f->shapeless = nx_tracing_any_size = r->shapeless;
    for (uint32_t i = 0; ok && i < n; i++) {
        nx_vec_push(&f->functions, (function){0});
        ok = take_function(r, &nx_vec_last(&f->functions));
    }
    return ok;
}

/* Traced, so that nothing is computed and dynamic shapes stay what they are. */
static nx_imported *import(nx_mapping *m)
{
    nx_imported *f = nx_calloc(1, sizeof *f);
    const unsigned char *data = nx_mapping_data(m);
    reader r = {.b = {data, data + nx_mapping_size(m), nx_mapping_path(m)}, .file = m};
    nx_scope scope = nx_scope_open();
    bool any_size_before = nx_tracing_any_size;
    nx_tracing++;
    bool ok = take_file(&r, f);
    nx_tracing_any_size = any_size_before;
    nx_tracing--;
    nx_scope_close(scope);
    nx_map_clear(&r.constants);
    nx_map_clear(&r.arrays);
    if (ok)
        return f;
    nx_imported_free(f);
    return NULL;
}

nx_imported *nx_import(const char *path)
{
    nx_mapping *m = nx_mapping_open(path);
    nx_imported *f = m ? import(m) : NULL;
    nx_mapping_unref(&m);
    return f;
}

nx_imported *nx_import_bytes(const void *bytes, size_t n, const char *name)
{
    nx_mapping *m = nx_mapping_of_memory(bytes, n, name);
    nx_imported *f = import(m);
    nx_mapping_unref(&m);
    return f;
}

void nx_imported_free(nx_imported *f)
{
    if (!f)
        return;
    for (size_t i = 0; i < f->functions.n; i++) {
        function *x = &f->functions.at[i];
        for (size_t k = 0; x->names && k < x->n_names; k++)
            free(x->names[k]);
        free(x->names);
        free(x->specs);
        if (x->has_tape)
            nx_tape_clear(&x->tape);
    }
    nx_vec_clear(&f->functions);
    free(f);
}

size_t nx_imported_traces(const nx_imported *f)
{
    return f->functions.n;
}

nx_trace_info nx_imported_trace(const nx_imported *f, size_t i)
{
    const function *x = &f->functions.at[i];
    return (nx_trace_info){x->n, x->n_names, x->specs, (const char *const *)x->names, x->largest};
}

/* ---- calls ----------------------------------------------------------------------------------- */

static bool fits(const nx_imported *f, const function *x, nx_array *const *in, size_t n,
                 const char *const *names, size_t n_names)
{
    bool same = x->n == n && x->n_names == n_names;
    for (size_t i = 0; same && i < n; i++) {
        const nx_spec *t = &x->specs[i];
        same = t->dtype == (nx_dtype)in[i]->dtype && t->ndim == in[i]->ndim &&
               (f->shapeless || nx_shape_equal(t->shape, t->ndim, in[i]->shape, in[i]->ndim));
    }
    for (size_t i = 0; same && i < n_names; i++)
        same = !strcmp(x->names[i], names[i]);
    return same;
}

static void tell_input(nx_str *s, size_t i, const char *name, const int *shape, int ndim, nx_dtype t)
{
    if (name)
        nx_str_printf(s, "\"%s\"", name);
    else
        nx_str_printf(s, "%zu", i + 1);
    nx_str_printf(s, ": %s %s\n", nx_shape_text(shape, ndim), nx_dtype_name(t));
}

static bool none_fits(const nx_imported *f, nx_array *const *in, size_t n, const char *const *names,
                      size_t n_names)
{
    nx_str s = {0};
    nx_str_puts(&s, "[import_function::call] No imported function found which matches the given "
                    "positional and keyword arguments. Possible functions include:\n");
    for (size_t k = 0; k < f->functions.n && k < 20; k++) {
        const function *x = &f->functions.at[k];
        size_t plain = x->n - x->n_names;
        nx_str_printf(&s, " %zu. Function with %zu positional inputs and %zu keyword inputs:\n", k + 1,
                      plain, x->n_names);
        for (size_t i = 0; i < x->n; i++) {
            nx_str_puts(&s, "   ");
            tell_input(&s, i, i < plain ? NULL : x->names[i - plain], x->specs[i].shape,
                       x->specs[i].ndim, x->specs[i].dtype);
        }
    }
    nx_str_printf(&s, "\nCalled with %zu positional inputs and %zu keyword inputs:\n", n - n_names,
                  n_names);
    for (size_t i = 0; i < n; i++) {
        nx_str_puts(&s, "  ");
        tell_input(&s, i, i < n - n_names ? NULL : names[i - (n - n_names)], in[i]->shape, in[i]->ndim,
                   (nx_dtype)in[i]->dtype);
    }
    nx_fail("%s", nx_str_cstr(&s));
    nx_str_clear(&s);
    return false;
}

bool nx_imported_call(const nx_imported *f, nx_array *const *in, size_t n, const char *const *names,
                      size_t n_names, nx_array_vec *out)
{
    for (size_t i = 0; i < f->functions.n; i++)
        if (fits(f, &f->functions.at[i], in, n, names, n_names))
            return nx_tape_replay(&f->functions.at[i].tape, in, out);
    return none_fits(f, in, n, names, n_names);
}
