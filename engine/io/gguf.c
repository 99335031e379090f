#include "engine/io/gguf.h"

#include <string.h>

#include "base/error.h"
#include "engine/core/eval.h"
#include "engine/core/half.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/gguf.h"
#include "engine/ops/shape.h"

enum { GROUP = 32 }; /* values a block of the types that stay packed */

/* ---- types ---------------------------------------------------------------------------------- */

/* Array types of metadata; strings and lists apart. */
static const struct {
    nx_gguf_type file;
    nx_dtype dtype;
} notes[] = {
    {NX_GGUF_BOOL, NX_BOOL},  {NX_GGUF_U8, NX_UINT8},    {NX_GGUF_I8, NX_INT8},
    {NX_GGUF_U16, NX_UINT16}, {NX_GGUF_I16, NX_INT16},   {NX_GGUF_U32, NX_UINT32},
    {NX_GGUF_I32, NX_INT32},  {NX_GGUF_U64, NX_UINT64},  {NX_GGUF_I64, NX_INT64},
    {NX_GGUF_F32, NX_FLOAT32}, {NX_GGUF_F64, NX_FLOAT64},
};

/* Tensors of plain numbers that arrays hold as they lie in the file. MLX writes the first five. */
static const struct {
    nx_ggml_id file;
    nx_dtype dtype;
} plain[] = {
    {NX_GGML_F32, NX_FLOAT32}, {NX_GGML_F16, NX_FLOAT16}, {NX_GGML_I8, NX_INT8},
    {NX_GGML_I16, NX_INT16},   {NX_GGML_I32, NX_INT32},   {NX_GGML_I64, NX_INT64},
    {NX_GGML_F64, NX_FLOAT64},
};
enum { N_PLAIN = sizeof plain / sizeof *plain, N_WRITTEN = 5 };

static int find_plain(uint32_t type)
{
    for (int i = 0; i < N_PLAIN; i++)
        if (plain[i].file == type)
            return i;
    return -1;
}

/* ---- reading -------------------------------------------------------------------------------- */

static bool shape_of(const nx_gguf_tensor *t, int *shape)
{
    for (int i = 0; i < t->ndim; i++) {
        uint64_t n = t->ne[t->ndim - 1 - i];
        if (n > INT32_MAX)
            return nx_fail("[load_gguf] tensor %s has a dimension of %llu, the limit is %d",
                           t->name, (unsigned long long)n, INT32_MAX);
        shape[i] = (int)n;
    }
    return true;
}

/* The file's bytes as an array of any type, which keeps the file mapped. */
static nx_array *wrap(const nx_gguf *f, const nx_gguf_tensor *t, const int *shape, int ndim,
                      nx_dtype dtype)
{
    if (!t->elements || (uintptr_t)t->data % nx_dtype_size(dtype))
        return nx_array_from_data(t->data, shape, ndim, dtype);
    return nx_array_wrap((void *)t->data, shape, ndim, dtype, nx_mapping_drop,
                         nx_mapping_ref(f->file));
}

static nx_array *expanded(const nx_gguf *f, const nx_gguf_tensor *t, const int *shape)
{
    nx_stream *s = nx_stream_default((nx_device){NX_CPU, 0});
    int type = (int)t->type->id;
    if (!nx_gguf_supports(type) && type != NX_GGML_BF16)
        return nx_fail_null("[load_gguf] tensor %s is of type %s, which cannot be read as numbers",
                            t->name, t->type->name);
    if (type == NX_GGML_BF16 || !t->elements)
        return nx_astype(wrap(f, t, shape, t->ndim, NX_BFLOAT16), NX_FLOAT16, s);
    uint64_t row = t->ne[0] / t->type->block_elements * t->type->block_bytes;
    uint64_t rows = t->elements / t->ne[0];
    if (rows > INT32_MAX || row > INT32_MAX)
        return nx_fail_null("[load_gguf] tensor %s is too large to be expanded", t->name);
    nx_array *bytes = wrap(f, t, (int[]){(int)rows, (int)row}, 2, NX_UINT8);
    return nx_reshape(nx_gguf_take(bytes, type, NULL, NX_FLOAT16, s), shape, t->ndim, s);
}

static uint16_t half_at(const unsigned char *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

/* A block has its first half in low nibbles and the second in high ones; here pairs are in order. */
static void pack_4(const unsigned char *q, unsigned char *to)
{
    for (int i = 0; i < GROUP / 4; i++) {
        to[i] = (unsigned char)((q[2 * i] & 15) | (q[2 * i + 1] & 15) << 4);
        to[i + GROUP / 4] = (unsigned char)(q[2 * i] >> 4 | (q[2 * i + 1] & 0xf0));
    }
}

static void pack_8(const unsigned char *q, unsigned char *to)
{
    for (int i = 0; i < GROUP; i++)
        to[i] = q[i] ^ 0x80;
}

/* Blocks to codes, scales and biases: a value is scale * code + bias. */
static void pack(const nx_gguf_tensor *t, unsigned char *codes, uint16_t *scales, uint16_t *biases)
{
    bool wide = t->type->id == NX_GGML_Q8_0, has_bias = t->type->id == NX_GGML_Q4_1;
    int zero = wide ? 128 : 8, bytes = wide ? GROUP : GROUP / 2;
    const unsigned char *block = t->data;
    for (uint64_t i = 0; i < t->elements / GROUP; i++, block += t->type->block_bytes) {
        scales[i] = half_at(block);
        biases[i] = has_bias ? half_at(block + 2)
                             : nx_half_from_float(nx_half_to_float(scales[i]) * (float)-zero);
        (wide ? pack_8 : pack_4)(block + (has_bias ? 4 : 2), codes + i * (uint64_t)bytes);
    }
}

/* "x.weight" gives "x" + ending; any other name is kept whole before it. */
static void part_name(nx_str *out, const char *name, const char *ending)
{
    size_t n = strlen(name);
    if (n >= 7 && !strcmp(name + n - 7, ".weight"))
        n -= 7;
    nx_str_add(out, name, n);
    nx_str_puts(out, ending);
}

static bool packed(nx_gguf_arrays *out, const nx_gguf_tensor *t, int *shape)
{
    int last = t->ndim - 1, columns = t->ndim ? shape[last] : 1;
    if (columns % GROUP)
        return nx_fail("[load_gguf] tensor %s has incompatible last dim shape: %d", t->name,
                       columns);
    int words = t->type->id == NX_GGML_Q8_0 ? GROUP / 4 : GROUP / 8; /* a block */
    shape[last] = columns / GROUP;
    nx_array *scales = nx_array_new(shape, t->ndim, NX_FLOAT16);
    nx_array *biases = scales ? nx_array_new(shape, t->ndim, NX_FLOAT16) : NULL;
    shape[last] *= words;
    nx_array *codes = biases ? nx_array_new(shape, t->ndim, NX_UINT32) : NULL;
    if (!codes)
        return false;
    pack(t, (unsigned char *)codes->data, (uint16_t *)scales->data, (uint16_t *)biases->data);
    out->n = 3;
    out->array[0] = codes;
    out->array[1] = scales;
    out->array[2] = biases;
    part_name(&out->name[1], t->name, ".scales");
    part_name(&out->name[2], t->name, ".biases");
    return true;
}

bool nx_gguf_arrays_of(nx_gguf_arrays *out, const nx_gguf *file, const nx_gguf_tensor *t)
{
    int shape[NX_GGUF_MAX_NDIM], i = find_plain(t->type->id);
    *out = (nx_gguf_arrays){.n = 1};
    nx_str_puts(&out->name[0], t->name);
    if (!shape_of(t, shape))
        return false;
    switch (t->type->id) {
    case NX_GGML_Q4_0: case NX_GGML_Q4_1: case NX_GGML_Q8_0: return packed(out, t, shape);
    default: break;
    }
    out->array[0] = i >= 0 ? wrap(file, t, shape, t->ndim, plain[i].dtype) : expanded(file, t, shape);
    return out->array[0] != NULL;
}

void nx_gguf_arrays_clear(nx_gguf_arrays *a)
{
    for (int i = 0; i < 3; i++)
        nx_str_clear(&a->name[i]);
}

nx_array *nx_gguf_numbers(const nx_gguf_kv *kv)
{
    if (kv->count > INT32_MAX)
        return nx_fail_null("[load_gguf] metadata '%s' has too many numbers", kv->key);
    int n = (int)kv->count;
    for (size_t i = 0; i < sizeof notes / sizeof *notes; i++) {
        if (notes[i].file != kv->item_type)
            continue;
        nx_array *a = nx_array_from_data(kv->data, &n, kv->type == NX_GGUF_ARRAY, notes[i].dtype);
        for (int k = 0; a && notes[i].dtype == NX_BOOL && k < n; k++)
            a->data[k] = a->data[k] != 0;
        return a;
    }
    return nx_fail_null("[load_gguf] metadata '%s' is of a type that arrays do not have", kv->key);
}

/* ---- writing -------------------------------------------------------------------------------- */

bool nx_gguf_writer_numbers(nx_gguf_writer *w, const char *key, const nx_array *a)
{
    if (a->ndim > 1)
        return nx_fail("[save_gguf] Cannot save arrays with more than one dimension.");
    if (!a->size)
        return nx_fail("[save_gguf] Cannot save empty arrays.");
    for (size_t i = 0; i < sizeof notes / sizeof *notes; i++) {
        if (notes[i].dtype != (nx_dtype)a->dtype || a->dtype == NX_FLOAT64)
            continue;
        const char *data = nx_array_host(a);
        if (!data)
            return false;
        return a->ndim ? nx_gguf_writer_array(w, key, notes[i].file, data, (uint64_t)a->size)
                       : nx_gguf_writer_scalar(w, key, notes[i].file, data);
    }
    return nx_fail("[save_gguf] array type %s not support for metadata.",
                   nx_dtype_name((nx_dtype)a->dtype));
}

bool nx_gguf_writer_declare(nx_gguf_writer *w, const char *name, const nx_array *a)
{
    uint64_t ne[NX_MAX_NDIM];
    for (int i = 0; i < a->ndim; i++)
        ne[i] = (uint64_t)a->shape[a->ndim - 1 - i];
    for (int i = 0; i < N_WRITTEN; i++)
        if (plain[i].dtype == (nx_dtype)a->dtype)
            return nx_gguf_writer_tensor(w, name, nx_ggml_type_find(plain[i].file), a->ndim, ne);
    return nx_fail("[save_gguf] dtype %s is not supported", nx_dtype_name((nx_dtype)a->dtype));
}
