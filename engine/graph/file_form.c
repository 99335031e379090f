#include "engine/graph/file_form.h"

#include "base/error.h"
#include "engine/ops/params.h"

static const nx_prim *const all[] = {
#define NX_PRIM(name) &nx_prim_##name,
#include "engine/ops/prims.def"
#undef NX_PRIM
};
enum { N_ALL = sizeof all / sizeof *all };

const nx_prim *nx_prim_of(int id)
{
    return id >= 0 && id < N_ALL ? all[id] : NULL;
}

nx_file_form nx_file_form_of(const nx_prim *p)
{
    return p->file ? *p->file : (nx_file_form){p->name, p->fields, p->n_fields};
}

/* ---- writing -------------------------------------------------------------------------------- */

void nx_put_u32(nx_str *s, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        nx_put_u8(s, v >> 8 * i & 255);
}

void nx_put_u64(nx_str *s, uint64_t v)
{
    nx_put_u32(s, (uint32_t)v);
    nx_put_u32(s, (uint32_t)(v >> 32));
}

void nx_put_text(nx_str *s, const char *text)
{
    nx_put_u64(s, strlen(text));
    nx_str_puts(s, text);
}

void nx_put_dtype(nx_str *s, nx_dtype t)
{
    nx_put_u32(s, (uint32_t)t); /* the numbers are MLX's */
    nx_put_u8(s, (unsigned)nx_dtype_size(t));
}

void nx_put_ints(nx_str *s, const int *v, int n)
{
    nx_put_u64(s, (uint64_t)n);
    for (int i = 0; i < n; i++)
        nx_put_u32(s, (uint32_t)v[i]);
}

static void put_field(nx_str *s, const nx_field *f, const void *params)
{
    const void *at = (const char *)params + f->offset;
    uint32_t u;
    uint64_t w;
    switch (f->type) {
    case NX_FIELD_INT: case NX_FIELD_ENUM: nx_put_u32(s, (uint32_t)*(const int *)at); break;
    case NX_FIELD_BOOL: nx_put_u8(s, *(const bool *)at); break;
    case NX_FIELD_TRUE: nx_put_u8(s, 1); break;
    case NX_FIELD_FALSE: nx_put_u8(s, 0); break;
    case NX_FIELD_UPPER: nx_put_text(s, *(const bool *)at ? "U" : "L"); break;
    case NX_FIELD_FLOAT: memcpy(&u, at, 4); nx_put_u32(s, u); break;
    case NX_FIELD_DOUBLE: case NX_FIELD_INT64: case NX_FIELD_UINT64:
        memcpy(&w, at, 8);
        nx_put_u64(s, w);
        break;
    case NX_FIELD_DTYPE: nx_put_dtype(s, *(const nx_dtype *)at); break;
    case NX_FIELD_DIMS: nx_put_ints(s, ((const nx_dims *)at)->v, ((const nx_dims *)at)->n); break;
    case NX_FIELD_SIZES:
        nx_put_u64(s, (uint64_t)((const nx_dims *)at)->n);
        for (int i = 0; i < ((const nx_dims *)at)->n; i++)
            nx_put_u64(s, (uint64_t)((const nx_dims *)at)->v[i]);
        break;
    case NX_FIELD_DIMS64:
        nx_put_u64(s, (uint64_t)((const nx_dims64 *)at)->n);
        for (int i = 0; i < ((const nx_dims64 *)at)->n; i++)
            nx_put_u64(s, (uint64_t)((const nx_dims64 *)at)->v[i]);
        break;
    }
}

void nx_put_state(nx_str *s, const nx_prim *p, const void *params)
{
    nx_file_form form = nx_file_form_of(p);
    for (int i = 0; i < form.n_fields; i++)
        put_field(s, &form.fields[i], params);
}

/* ---- reading -------------------------------------------------------------------------------- */

static bool take(nx_bytes *b, void *to, size_t n)
{
    if ((size_t)(b->end - b->at) < n)
        return nx_fail("[import_function] %s is truncated", b->name);
    memcpy(to, b->at, n);
    b->at += n;
    return true;
}

bool nx_take_u8(nx_bytes *b, unsigned *v)
{
    unsigned char c = 0;
    bool ok = take(b, &c, 1);
    *v = ok ? c : 0;
    return ok;
}

bool nx_take_u32(nx_bytes *b, uint32_t *v)
{
    unsigned char c[4] = {0};
    bool ok = take(b, c, 4);
    *v = c[0] | (uint32_t)c[1] << 8 | (uint32_t)c[2] << 16 | (uint32_t)c[3] << 24;
    return ok;
}

bool nx_take_u64(nx_bytes *b, uint64_t *v)
{
    uint32_t low, high = 0;
    bool ok = nx_take_u32(b, &low) && nx_take_u32(b, &high);
    *v = low | (uint64_t)high << 32;
    return ok;
}

bool nx_take_length(nx_bytes *b, size_t item, size_t *n)
{
    uint64_t v;
    *n = 0;
    if (!nx_take_u64(b, &v))
        return false;
    if (v > (uint64_t)(b->end - b->at) / item)
        return nx_fail("[import_function] %s promises %llu items, for which it is too short", b->name,
                       (unsigned long long)v);
    *n = (size_t)v;
    return true;
}

bool nx_take_flag(nx_bytes *b, bool *v)
{
    unsigned u;
    if (!nx_take_u8(b, &u))
        return false;
    *v = u == 1;
    return u <= 1 || nx_fail("[import_function] %s has %u in place of a truth value", b->name, u);
}

bool nx_take_text(nx_bytes *b, nx_str *text)
{
    size_t n;
    nx_str_truncate(text, 0);
    if (!nx_take_length(b, 1, &n))
        return false;
    if (memchr(b->at, 0, n))
        return nx_fail("[import_function] %s has a name with a zero byte", b->name);
    nx_str_add(text, b->at, n);
    b->at += n;
    return true;
}

bool nx_take_dtype(nx_bytes *b, nx_dtype *t)
{
    uint32_t v;
    unsigned size;
    if (!nx_take_u32(b, &v) || !nx_take_u8(b, &size))
        return false;
    if (v >= NX_DTYPE_COUNT || size != nx_dtype_size((nx_dtype)v))
        return nx_fail("[import_function] %s has an element type %u of %u bytes", b->name, v, size);
    *t = (nx_dtype)v;
    return true;
}

/* A list of at most NX_MAX_NDIM numbers. */
static bool take_count(nx_bytes *b, size_t item, int *n)
{
    size_t many;
    if (!nx_take_length(b, item, &many))
        return false;
    if (many > NX_MAX_NDIM)
        return nx_fail("[import_function] %s has a list of %zu dimensions, the limit is %d", b->name,
                       many, NX_MAX_NDIM);
    *n = (int)many;
    return true;
}

static bool take_ints(nx_bytes *b, int *v, int *n)
{
    bool ok = take_count(b, 4, n);
    for (int i = 0; ok && i < *n; i++) {
        uint32_t u;
        ok = nx_take_u32(b, &u);
        v[i] = (int)u;
    }
    return ok;
}

bool nx_take_shape(nx_bytes *b, nx_spec *spec)
{
    int64_t bytes = 16; /* more than any element has */
    if (!take_ints(b, spec->shape, &spec->ndim))
        return false;
    for (int i = 0; i < spec->ndim; i++)
        if (spec->shape[i] < 0)
            return nx_fail("[import_function] %s has a negative dimension", b->name);
    for (int i = 0; i < spec->ndim; i++)
        if (__builtin_mul_overflow(bytes, (int64_t)spec->shape[i] + (spec->shape[i] == 0), &bytes))
            return nx_fail("[import_function] %s has a shape beyond the address space", b->name);
    return true;
}

static bool take_sizes(nx_bytes *b, int64_t *v, int *n)
{
    bool ok = take_count(b, 8, n);
    for (int i = 0; ok && i < *n; i++) {
        uint64_t u;
        ok = nx_take_u64(b, &u);
        v[i] = (int64_t)u;
    }
    return ok;
}

static bool take_small(nx_bytes *b, nx_dims *d)
{
    int64_t v[NX_MAX_NDIM];
    bool ok = take_sizes(b, v, &d->n);
    for (int i = 0; ok && i < d->n; i++) {
        d->v[i] = (int)v[i];
        ok = d->v[i] == v[i] || nx_fail("[import_function] %s has a number out of range", b->name);
    }
    return ok;
}

static bool take_upper(nx_bytes *b, bool *upper)
{
    nx_str text = {0};
    bool ok = nx_take_text(b, &text);
    *upper = !strcmp(nx_str_cstr(&text), "U");
    if (ok && !*upper && strcmp(nx_str_cstr(&text), "L") != 0)
        ok = nx_fail("[import_function] %s has '%s' in place of L or U", b->name, nx_str_cstr(&text));
    nx_str_clear(&text);
    return ok;
}

static bool take_number(nx_bytes *b, void *to, size_t size)
{
    uint32_t u = 0;
    uint64_t w = 0;
    bool ok = size == 4 ? nx_take_u32(b, &u) : nx_take_u64(b, &w);
    memcpy(to, size == 4 ? (void *)&u : (void *)&w, size);
    return ok;
}

/* *fits gets false where a value that tells primitives apart is another's. */
static bool take_field(nx_bytes *b, const nx_field *f, void *params, bool *fits)
{
    void *at = (char *)params + f->offset;
    bool flag;
    switch (f->type) {
    case NX_FIELD_INT: case NX_FIELD_ENUM: case NX_FIELD_FLOAT: return take_number(b, at, 4);
    case NX_FIELD_DOUBLE: case NX_FIELD_INT64: case NX_FIELD_UINT64: return take_number(b, at, 8);
    case NX_FIELD_BOOL: return nx_take_flag(b, at);
    case NX_FIELD_UPPER: return take_upper(b, at);
    case NX_FIELD_DTYPE: return nx_take_dtype(b, at);
    case NX_FIELD_DIMS: return take_ints(b, ((nx_dims *)at)->v, &((nx_dims *)at)->n);
    case NX_FIELD_SIZES: return take_small(b, at);
    case NX_FIELD_DIMS64: return take_sizes(b, ((nx_dims64 *)at)->v, &((nx_dims64 *)at)->n);
    case NX_FIELD_TRUE: case NX_FIELD_FALSE:
        if (!nx_take_flag(b, &flag))
            return false;
        *fits &= flag == (f->type == NX_FIELD_TRUE);
        return true;
    }
    return false;
}

const nx_prim *nx_take_state(nx_bytes *b, const char *class_name, void *params)
{
    const unsigned char *begin = b->at;
    bool known = false;
    for (int i = 0; i < N_ALL; i++) {
        nx_file_form form = nx_file_form_of(all[i]);
        bool fits = true;
        if (!all[i]->rebuild || strcmp(form.name, class_name) != 0)
            continue;
        NX_BUG_IF(all[i]->params_size > NX_PARAMS_MAX);
        known = true;
        b->at = begin;
        memset(params, 0, all[i]->params_size);
        for (int k = 0; k < form.n_fields; k++)
            if (!take_field(b, &form.fields[k], params, &fits))
                return NULL;
        if (fits)
            return all[i];
    }
    return nx_fail_null(known ? "[import_function] %s has a state of %s that this engine does not know"
                              : "[import_function] %s has an operation %s, which this engine does not have",
                        b->name, class_name);
}
