/*
 * safetensors.c: opening a safetensors file: everything in its header is checked here, once.
 * Writing is safetensors_writer.c.
 */
#include "base/safetensors.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/json_stream.h"
#include "base/vec.h"

/* Names as they stand in files, and bits an element. */
static const struct {
    const char *name;
    unsigned bits;
} dtypes[NX_SAFETENSORS_N_DTYPES] = {
    [NX_SAFETENSORS_BOOL] = {"BOOL", 8},       [NX_SAFETENSORS_U8] = {"U8", 8},
    [NX_SAFETENSORS_I8] = {"I8", 8},           [NX_SAFETENSORS_U16] = {"U16", 16},
    [NX_SAFETENSORS_I16] = {"I16", 16},        [NX_SAFETENSORS_U32] = {"U32", 32},
    [NX_SAFETENSORS_I32] = {"I32", 32},        [NX_SAFETENSORS_U64] = {"U64", 64},
    [NX_SAFETENSORS_I64] = {"I64", 64},        [NX_SAFETENSORS_F16] = {"F16", 16},
    [NX_SAFETENSORS_BF16] = {"BF16", 16},      [NX_SAFETENSORS_F32] = {"F32", 32},
    [NX_SAFETENSORS_F64] = {"F64", 64},        [NX_SAFETENSORS_C64] = {"C64", 64},
    [NX_SAFETENSORS_F8_E4M3] = {"F8_E4M3", 8}, [NX_SAFETENSORS_F8_E5M2] = {"F8_E5M2", 8},
    [NX_SAFETENSORS_F8_E8M0] = {"F8_E8M0", 8}, [NX_SAFETENSORS_F6_E2M3] = {"F6_E2M3", 6},
    [NX_SAFETENSORS_F6_E3M2] = {"F6_E3M2", 6}, [NX_SAFETENSORS_F4] = {"F4", 4},
};

const char *nx_safetensors_dtype_name(nx_safetensors_dtype d)
{
    return dtypes[d].name;
}

unsigned nx_safetensors_dtype_bits(nx_safetensors_dtype d)
{
    return dtypes[d].bits;
}

bool nx_safetensors_dtype_find(nx_slice name, nx_safetensors_dtype *out)
{
    for (int i = 0; i < NX_SAFETENSORS_N_DTYPES; i++) {
        if (nx_slice_is(name, dtypes[i].name)) {
            *out = (nx_safetensors_dtype)i;
            return true;
        }
    }
    return false;
}

typedef NX_VEC(uint64_t) u64_vec;
typedef struct {
    nx_safetensors *file;
    const char *name; /* of the file, for messages */
    nx_json_stream json;
    NX_VEC(nx_safetensors_tensor) tensors;
    NX_VEC(nx_safetensors_meta) metadata;
    u64_vec numbers; /* scratch: the array of integers being read */
    uint64_t data_bytes;
} parser;

/* ---- one tensor ---- */

/* Which of a tensor's three entries were there. */
typedef struct {
    bool dtype, shape, offsets;
} seen_fields;

static bool read_integers(parser *p)
{
    p->numbers.n = 0;
    if (nx_json_next(&p->json) != NX_JSON_ARRAY)
        return p->json.token != NX_JSON_ERROR
                   ? nx_json_stream_fail(&p->json, "an array of whole numbers is expected")
                   : false;
    while (nx_json_next(&p->json) == NX_JSON_NUMBER) {
        uint64_t v;
        if (!nx_json_number_u64(&p->json, &v))
            return false;
        nx_vec_push(&p->numbers, v);
    }
    if (p->json.token == NX_JSON_ARRAY_END || p->json.token == NX_JSON_ERROR)
        return p->json.token == NX_JSON_ARRAY_END;
    return nx_json_stream_fail(&p->json, "a whole number is expected");
}

static bool read_dtype(parser *p, nx_safetensors_tensor *t)
{
    nx_slice name;
    if (!nx_json_read_string(&p->json, &name))
        return false;
    if (nx_safetensors_dtype_find(name, &t->dtype))
        return true;
    return nx_fail("[safetensors] %s: tensor '%s' is of type '%.*s', which is not known", p->name,
                   t->name, (int)(name.len < 40 ? name.len : 40), name.data);
}

static bool read_shape(parser *p, nx_safetensors_tensor *t)
{
    if (!read_integers(p))
        return false;
    t->ndim = (int)p->numbers.n; /* at most half the header's 100 MB */
    if (t->ndim) {
        uint64_t *shape = nx_arena_alloc(&p->file->arena, p->numbers.n * sizeof *shape);
        memcpy(shape, p->numbers.at, p->numbers.n * sizeof *shape);
        t->shape = shape;
    }
    return true;
}

static bool read_offsets(parser *p, nx_safetensors_tensor *t)
{
    if (!read_integers(p))
        return false;
    if (p->numbers.n != 2 || p->numbers.at[0] > p->numbers.at[1])
        return nx_fail("[safetensors] %s: tensor '%s' has no valid data_offsets", p->name, t->name);
    t->offset = p->numbers.at[0];
    t->bytes = p->numbers.at[1] - p->numbers.at[0];
    return true;
}

static bool read_field(parser *p, nx_safetensors_tensor *t, seen_fields *seen)
{
    nx_slice key = p->json.text;
    bool *flag = nx_slice_is(key, "dtype")          ? &seen->dtype
                 : nx_slice_is(key, "shape")        ? &seen->shape
                 : nx_slice_is(key, "data_offsets") ? &seen->offsets
                                                    : NULL;
    if (!flag)
        return nx_json_skip_value(&p->json);
    if (*flag)
        return nx_fail("[safetensors] %s: tensor '%s' says '%.*s' twice", p->name, t->name,
                       (int)key.len, key.data);
    *flag = true;
    return flag == &seen->dtype   ? read_dtype(p, t)
           : flag == &seen->shape ? read_shape(p, t)
                                  : read_offsets(p, t);
}

/* The shape's bytes must be those between the offsets, which must lie in the file. */
static bool check_tensor(const parser *p, nx_safetensors_tensor *t)
{
    uint64_t bits;
    bool too_many = false;
    t->elements = 1;
    for (int i = 0; i < t->ndim; i++)
        too_many |= __builtin_mul_overflow(t->elements, t->shape[i], &t->elements);
    too_many |= __builtin_mul_overflow(t->elements, (uint64_t)dtypes[t->dtype].bits, &bits);
    if (too_many)
        return nx_fail("[safetensors] %s: tensor '%s' has more elements than can be counted",
                       p->name, t->name);
    if (bits % 8 || bits / 8 != t->bytes)
        return nx_fail("[safetensors] %s: tensor '%s' takes %llu bytes, but its shape and type "
                       "%s need %llu",
                       p->name, t->name, (unsigned long long)t->bytes, dtypes[t->dtype].name,
                       (unsigned long long)(bits / 8 + (bits % 8 != 0)));
    if (t->offset + t->bytes > p->data_bytes)
        return nx_fail("[safetensors] %s: truncated: tensor '%s' ends at byte %llu of the data, "
                       "but only %llu bytes are there; fetch it again",
                       p->name, t->name, (unsigned long long)(t->offset + t->bytes),
                       (unsigned long long)p->data_bytes);
    return true;
}

static bool read_tensor(parser *p, const char *name)
{
    nx_safetensors_tensor t = {.name = name};
    seen_fields seen = {0};
    if (nx_json_next(&p->json) != NX_JSON_OBJECT)
        return p->json.token != NX_JSON_ERROR
                   ? nx_json_stream_fail(&p->json, "a tensor's description is expected")
                   : false;
    while (nx_json_next(&p->json) == NX_JSON_KEY)
        if (!read_field(p, &t, &seen))
            return false;
    if (p->json.token == NX_JSON_ERROR)
        return false;
    if (!seen.dtype || !seen.shape || !seen.offsets)
        return nx_fail("[safetensors] %s: tensor '%s' lacks '%s'", p->name, name,
                       !seen.dtype   ? "dtype"
                       : !seen.shape ? "shape"
                                     : "data_offsets");
    if (!check_tensor(p, &t))
        return false;
    nx_vec_push(&p->tensors, t);
    return true;
}

/* ---- the header ---- */

static bool read_metadata(parser *p)
{
    nx_arena *a = &p->file->arena;
    if (nx_json_next(&p->json) != NX_JSON_OBJECT)
        return p->json.token != NX_JSON_ERROR
                   ? nx_json_stream_fail(&p->json, "__metadata__ must be an object of strings")
                   : false;
    while (nx_json_next(&p->json) == NX_JSON_KEY) {
        nx_safetensors_meta m;
        m.key = nx_arena_strndup(a, p->json.text.data, p->json.text.len);
        if (!nx_json_read_string(&p->json, &m.value))
            return false;
        m.value.data = nx_arena_strndup(a, m.value.data, m.value.len);
        nx_vec_push(&p->metadata, m);
    }
    return p->json.token == NX_JSON_OBJECT_END;
}

static bool read_entry(parser *p, bool *seen_metadata)
{
    nx_slice key = p->json.text;
    if (nx_slice_is(key, "__metadata__")) {
        if (*seen_metadata)
            return nx_fail("[safetensors] %s: __metadata__ occurs twice", p->name);
        *seen_metadata = true;
        return read_metadata(p);
    }
    if (memchr(key.data, '\0', key.len))
        return nx_fail("[safetensors] %s: a tensor's name holds a NUL", p->name);
    if (!nx_map_set(&p->file->index, key.data, key.len, p->tensors.n))
        return nx_fail("[safetensors] %s: tensor '%.*s' occurs twice", p->name, (int)key.len,
                       key.data);
    return read_tensor(p, nx_map_find(&p->file->index, key.data, key.len)->key);
}

static bool read_header(parser *p)
{
    bool seen_metadata = false;
    if (nx_json_next(&p->json) != NX_JSON_OBJECT)
        return p->json.token != NX_JSON_ERROR
                   ? nx_json_stream_fail(&p->json, "the header must be an object")
                   : false;
    while (nx_json_next(&p->json) == NX_JSON_KEY)
        if (!read_entry(p, &seen_metadata))
            return false;
    return p->json.token == NX_JSON_OBJECT_END && nx_json_next(&p->json) == NX_JSON_END;
}

static int by_offset(const void *a, const void *b)
{
    const nx_safetensors_tensor *x = *(nx_safetensors_tensor *const *)a;
    const nx_safetensors_tensor *y = *(nx_safetensors_tensor *const *)b;
    if (x->offset != y->offset)
        return x->offset < y->offset ? -1 : 1;
    return (x->bytes > y->bytes) - (x->bytes < y->bytes); /* empty ones first */
}

static bool check_overlaps(const parser *p)
{
    size_t n = p->tensors.n;
    const nx_safetensors_tensor **order = nx_malloc(n * sizeof *order);
    for (size_t i = 0; i < n; i++)
        order[i] = &p->tensors.at[i];
    qsort(order, n, sizeof *order, by_offset);
    bool ok = true;
    for (size_t i = 1; i < n && ok; i++)
        if (order[i - 1]->offset + order[i - 1]->bytes > order[i]->offset)
            ok = nx_fail("[safetensors] %s: tensors '%s' and '%s' overlap", p->name,
                         order[i - 1]->name, order[i]->name);
    free(order);
    return ok;
}

nx_safetensors *nx_safetensors_parse(const char *header, uint64_t header_bytes, uint64_t data_bytes,
                                     const char *name)
{
    uint64_t most = UINT64_MAX - 8 - header_bytes; /* so that offsets in the file can be told */
    parser p = {.name = name, .data_bytes = data_bytes < most ? data_bytes : most};
    nx_safetensors *s = p.file = nx_calloc(1, sizeof *s);
    nx_json_stream_init(&p.json, header, (size_t)header_bytes, name);
    bool ok = read_header(&p) && check_overlaps(&p);
    nx_json_stream_clear(&p.json);
    nx_vec_clear(&p.numbers);
    s->tensors = p.tensors.at;
    s->n_tensors = p.tensors.n;
    s->metadata = p.metadata.at;
    s->n_metadata = p.metadata.n;
    s->data_offset = 8 + header_bytes;
    for (size_t i = 0; i < s->n_tensors; i++) /* from the start of the file now */
        s->tensors[i].offset += s->data_offset;
    if (ok)
        return s;
    nx_safetensors_free(s);
    return NULL;
}

bool nx_safetensors_header_bytes(const unsigned char first[8], const char *name, uint64_t *bytes)
{
    uint64_t n = 0;
    for (int i = 7; i >= 0; i--)
        n = n << 8 | first[i];
    if (n < 2 || n > NX_SAFETENSORS_MAX_HEADER)
        return nx_fail("[safetensors] %s is no safetensors file: its first 8 bytes announce a "
                       "header of %llu bytes",
                       name, (unsigned long long)n);
    *bytes = n;
    return true;
}

nx_safetensors *nx_safetensors_open_mapping(nx_mapping *m)
{
    const unsigned char *data = nx_mapping_data(m);
    const char *path = nx_mapping_path(m);
    uint64_t size = nx_mapping_size(m), n = 0;
    if (nx_mapping_is_lfs_pointer(m))
        return nx_fail_null("[safetensors] %s is a Git LFS pointer, not the model: fetch the file "
                            "itself (git lfs pull)",
                            path);
    if (size < 8)
        return nx_fail_null("[safetensors] %s: truncated: the file ends at byte %llu, inside the "
                            "header's length",
                            path, (unsigned long long)size);
    if (!nx_safetensors_header_bytes(data, path, &n))
        return NULL;
    if (n > size - 8)
        return nx_fail_null("[safetensors] %s: truncated: the file ends at byte %llu, but its "
                            "header ends at byte %llu; fetch it again",
                            path, (unsigned long long)size, (unsigned long long)(8 + n));
    nx_safetensors *s = nx_safetensors_parse((const char *)data + 8, n, size - 8 - n, path);
    if (!s)
        return NULL;
    s->file = nx_mapping_ref(m);
    for (size_t i = 0; i < s->n_tensors; i++)
        s->tensors[i].data = data + s->tensors[i].offset;
    return s;
}

nx_safetensors *nx_safetensors_open(const char *path)
{
    nx_mapping *m = nx_mapping_open(path);
    if (!m)
        return NULL;
    nx_safetensors *s = nx_safetensors_open_mapping(m);
    nx_mapping_unref(&m);
    return s;
}

void nx_safetensors_free(nx_safetensors *s)
{
    if (!s)
        return;
    free(s->tensors);
    free(s->metadata);
    nx_map_clear(&s->index);
    nx_arena_clear(&s->arena);
    nx_mapping_unref(&s->file);
    free(s);
}

const nx_safetensors_tensor *nx_safetensors_find(const nx_safetensors *s, const char *name)
{
    nx_map_entry *e = nx_map_find(&s->index, name, strlen(name));
    return e ? &s->tensors[e->value] : NULL;
}

nx_slice nx_safetensors_metadata(const nx_safetensors *s, const char *key)
{
    for (size_t i = 0; i < s->n_metadata; i++)
        if (strcmp(s->metadata[i].key, key) == 0)
            return s->metadata[i].value;
    return (nx_slice){NULL, 0};
}
