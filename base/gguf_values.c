/*
 * gguf_values.c: reading the metadata of an opened GGUF file, and the names of split files.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/gguf.h"

static const struct {
    const char *name;
    size_t size;
} types[NX_GGUF_N_TYPES] = {
    [NX_GGUF_U8] = {"u8", 1},       [NX_GGUF_I8] = {"i8", 1},     [NX_GGUF_U16] = {"u16", 2},
    [NX_GGUF_I16] = {"i16", 2},     [NX_GGUF_U32] = {"u32", 4},   [NX_GGUF_I32] = {"i32", 4},
    [NX_GGUF_F32] = {"f32", 4},     [NX_GGUF_BOOL] = {"bool", 1}, [NX_GGUF_STR] = {"string", 0},
    [NX_GGUF_ARRAY] = {"array", 0}, [NX_GGUF_U64] = {"u64", 8},   [NX_GGUF_I64] = {"i64", 8},
    [NX_GGUF_F64] = {"f64", 8},
};

const char *nx_gguf_type_name(unsigned type)
{
    return type < NX_GGUF_N_TYPES ? types[type].name : "unknown";
}

size_t nx_gguf_type_size(unsigned type)
{
    return type < NX_GGUF_N_TYPES ? types[type].size : 0;
}

/* ---- lookup ---- */

const nx_gguf_kv *nx_gguf_find(const nx_gguf *g, const char *key)
{
    nx_map_entry *e = nx_map_find(&g->kv_index, key, strlen(key));
    return e ? &g->kv[e->value] : NULL;
}

const nx_gguf_kv *nx_gguf_findf(const nx_gguf *g, const char *fmt, ...)
{
    char key[512]; /* no key that we ask for is as long; a longer one is not there */
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(key, sizeof key, fmt, ap);
    va_end(ap);
    return n >= 0 && (size_t)n < sizeof key ? nx_gguf_find(g, key) : NULL;
}

/* ---- numbers ---- */

typedef struct {
    enum { NONE, UNSIGNED, SIGNED, FLOAT, BOOLEAN } kind;
    uint64_t u;
    int64_t i;
    double f;
} number;

#define LOAD(type, field, tag)                                                                     \
    do {                                                                                           \
        type v;                                                                                    \
        memcpy(&v, kv->data + i * sizeof v, sizeof v);                                             \
        return (number){.kind = tag, .field = v};                                                  \
    } while (0)

static number load(const nx_gguf_kv *kv, uint64_t i)
{
    if (!kv || i >= kv->count)
        return (number){NONE, 0, 0, 0};
    switch (kv->item_type) {
    case NX_GGUF_U8:
        LOAD(uint8_t, u, UNSIGNED);
    case NX_GGUF_U16:
        LOAD(uint16_t, u, UNSIGNED);
    case NX_GGUF_U32:
        LOAD(uint32_t, u, UNSIGNED);
    case NX_GGUF_U64:
        LOAD(uint64_t, u, UNSIGNED);
    case NX_GGUF_I8:
        LOAD(int8_t, i, SIGNED);
    case NX_GGUF_I16:
        LOAD(int16_t, i, SIGNED);
    case NX_GGUF_I32:
        LOAD(int32_t, i, SIGNED);
    case NX_GGUF_I64:
        LOAD(int64_t, i, SIGNED);
    case NX_GGUF_F32:
        LOAD(float, f, FLOAT);
    case NX_GGUF_F64:
        LOAD(double, f, FLOAT);
    case NX_GGUF_BOOL:
        LOAD(uint8_t, u, BOOLEAN);
    default:
        return (number){NONE, 0, 0, 0};
    }
}

uint64_t nx_gguf_item_u64(const nx_gguf_kv *kv, uint64_t i, uint64_t fallback)
{
    number n = load(kv, i);
    if (n.kind == UNSIGNED)
        return n.u;
    if (n.kind == SIGNED && n.i >= 0)
        return (uint64_t)n.i;
    if (n.kind == FLOAT && n.f >= 0 && n.f < 0x1p64 && n.f == floor(n.f))
        return (uint64_t)n.f;
    return fallback;
}

int64_t nx_gguf_item_i64(const nx_gguf_kv *kv, uint64_t i, int64_t fallback)
{
    number n = load(kv, i);
    if (n.kind == SIGNED)
        return n.i;
    if (n.kind == UNSIGNED && n.u <= INT64_MAX)
        return (int64_t)n.u;
    if (n.kind == FLOAT && n.f >= -0x1p63 && n.f < 0x1p63 && n.f == floor(n.f))
        return (int64_t)n.f;
    return fallback;
}

double nx_gguf_item_f64(const nx_gguf_kv *kv, uint64_t i, double fallback)
{
    number n = load(kv, i);
    if (n.kind == FLOAT)
        return n.f;
    if (n.kind == UNSIGNED)
        return (double)n.u;
    return n.kind == SIGNED ? (double)n.i : fallback;
}

bool nx_gguf_item_bool(const nx_gguf_kv *kv, uint64_t i, bool fallback)
{
    number n = load(kv, i);
    return n.kind == BOOLEAN ? n.u != 0 : fallback;
}

static const nx_gguf_kv *scalar(const nx_gguf_kv *kv)
{
    return kv && kv->type != NX_GGUF_ARRAY ? kv : NULL;
}

uint64_t nx_gguf_u64(const nx_gguf_kv *kv, uint64_t fallback)
{
    return nx_gguf_item_u64(scalar(kv), 0, fallback);
}

int64_t nx_gguf_i64(const nx_gguf_kv *kv, int64_t fallback)
{
    return nx_gguf_item_i64(scalar(kv), 0, fallback);
}

double nx_gguf_f64(const nx_gguf_kv *kv, double fallback)
{
    return nx_gguf_item_f64(scalar(kv), 0, fallback);
}

bool nx_gguf_bool(const nx_gguf_kv *kv, bool fallback)
{
    return nx_gguf_item_bool(scalar(kv), 0, fallback);
}

uint64_t nx_gguf_get_u64(const nx_gguf *g, const char *key, uint64_t fallback)
{
    return nx_gguf_u64(nx_gguf_find(g, key), fallback);
}

int64_t nx_gguf_get_i64(const nx_gguf *g, const char *key, int64_t fallback)
{
    return nx_gguf_i64(nx_gguf_find(g, key), fallback);
}

double nx_gguf_get_f64(const nx_gguf *g, const char *key, double fallback)
{
    return nx_gguf_f64(nx_gguf_find(g, key), fallback);
}

bool nx_gguf_get_bool(const nx_gguf *g, const char *key, bool fallback)
{
    return nx_gguf_bool(nx_gguf_find(g, key), fallback);
}

/* ---- strings ---- */

static nx_slice string_at(const unsigned char *p)
{
    uint64_t n; /* was checked when the file was opened */
    memcpy(&n, p, sizeof n);
    return (nx_slice){(const char *)p + sizeof n, (size_t)n};
}

nx_slice nx_gguf_str(const nx_gguf_kv *kv)
{
    return kv && kv->type == NX_GGUF_STR ? string_at(kv->data) : (nx_slice){NULL, 0};
}

nx_slice nx_gguf_get_str(const nx_gguf *g, const char *key)
{
    return nx_gguf_str(nx_gguf_find(g, key));
}

bool nx_gguf_strings_init(nx_gguf_strings *s, const nx_gguf_kv *kv, const char *key)
{
    *s = (nx_gguf_strings){0};
    if (!kv)
        return nx_fail("[gguf] metadata '%s' is missing", key);
    if (kv->type != NX_GGUF_ARRAY || kv->item_type != NX_GGUF_STR)
        return nx_fail("[gguf] metadata '%s' is of type %s, not an array of strings", key,
                       nx_gguf_type_name(kv->type));
    s->n = (size_t)kv->count;
    s->at = nx_malloc(s->n * sizeof *s->at);
    const unsigned char *p = kv->data;
    for (size_t i = 0; i < s->n; i++) {
        s->at[i] = p;
        p += sizeof(uint64_t) + string_at(p).len;
    }
    return true;
}

nx_slice nx_gguf_strings_at(const nx_gguf_strings *s, size_t i)
{
    NX_BUG_IF(i >= s->n);
    return string_at(s->at[i]);
}

void nx_gguf_strings_clear(nx_gguf_strings *s)
{
    free(s->at);
    *s = (nx_gguf_strings){0};
}

/* ---- split files ---- */

void nx_gguf_split(const nx_gguf *g, uint32_t *no, uint32_t *count)
{
    uint64_t n = nx_gguf_get_u64(g, "split.count", 1), k = nx_gguf_get_u64(g, "split.no", 0);
    bool valid = n > 1 && n <= UINT32_MAX && k < n;
    *count = valid ? (uint32_t)n : 1;
    *no = valid ? (uint32_t)k : 0;
}

bool nx_gguf_split_path(nx_str *out, const char *path, uint32_t no, uint32_t count)
{
    enum { SUFFIX = sizeof "-00001-of-00003.gguf" - 1 };
    size_t n = strlen(path);
    unsigned has_no, has_count;
    int used = 0;
    if (n < SUFFIX ||
        sscanf(path + n - SUFFIX, "-%5u-of-%5u.gguf%n", &has_no, &has_count, &used) != 2 ||
        used != SUFFIX)
        return nx_fail("[gguf] %s is a part of a split model, but its name does not end in "
                       "-00001-of-%05u.gguf, so the other parts cannot be found",
                       path, count);
    if (has_count != count || no >= count)
        return nx_fail("[gguf] %s says in its name that it is one of %u parts, inside that it is "
                       "one of %u",
                       path, has_count, count);
    nx_str_add(out, path, n - SUFFIX);
    nx_str_printf(out, "-%05u-of-%05u.gguf", no + 1, count);
    return true;
}
