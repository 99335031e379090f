/* GGUF: what the writer writes the reader reads; damaged files are refused and never read past. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/gguf.h"
#include "base/os.h"
#include "tempdir.h"

#define assert_error(text) assert_non_null(strstr(nx_error_message(), text))

/* ---- a small file with some of everything ---- */

static void write_small(const char *path)
{
    static const int32_t ints[] = {-1, 0, 7};
    static const nx_slice words[] = {{"a", 1}, {"", 0}, {"\xC4\xA0word\0x", 8}};
    static const float f32[6] = {1, 2, 3, 4, 5, 6};
    const uint64_t shape[] = {3, 2}, row[] = {64}, empty[] = {0, 5};
    unsigned char q4[36];
    memset(q4, 0x5A, sizeof q4);
    uint8_t u8 = 200;
    int8_t i8 = -100;
    uint16_t u16 = 60000;
    int16_t i16 = -30000;
    int64_t i64 = INT64_MIN;
    double f64 = 0.1;

    nx_gguf_writer *w = nx_gguf_writer_new(path);
    assert_non_null(w);
    assert_true(nx_gguf_writer_alignment(w, 64));
    assert_true(nx_gguf_writer_str(w, "general.architecture", nx_slice_of("llama")));
    assert_true(nx_gguf_writer_u32(w, "llama.block_count", 30));
    assert_true(nx_gguf_writer_u64(w, "big", UINT64_MAX));
    assert_true(nx_gguf_writer_i32(w, "minus", -5));
    assert_true(nx_gguf_writer_f32(w, "half", 0.5f));
    assert_true(nx_gguf_writer_f32(w, "whole", 8.0f));
    assert_true(nx_gguf_writer_bool(w, "yes", true));
    assert_true(nx_gguf_writer_scalar(w, "u8", NX_GGUF_U8, &u8));
    assert_true(nx_gguf_writer_scalar(w, "i8", NX_GGUF_I8, &i8));
    assert_true(nx_gguf_writer_scalar(w, "u16", NX_GGUF_U16, &u16));
    assert_true(nx_gguf_writer_scalar(w, "i16", NX_GGUF_I16, &i16));
    assert_true(nx_gguf_writer_scalar(w, "i64", NX_GGUF_I64, &i64));
    assert_true(nx_gguf_writer_scalar(w, "f64", NX_GGUF_F64, &f64));
    assert_true(nx_gguf_writer_array(w, "ints", NX_GGUF_I32, ints, 3));
    assert_true(nx_gguf_writer_strings(w, "words", words, 3));
    assert_true(nx_gguf_writer_strings(w, "no_words", NULL, 0));
    assert_true(nx_gguf_writer_tensor(w, "a.weight", nx_ggml_type_named("f32"), 2, shape));
    assert_true(nx_gguf_writer_tensor(w, "none", nx_ggml_type_named("F16"), 2, empty));
    assert_true(nx_gguf_writer_tensor(w, "q.weight", nx_ggml_type_find(NX_GGML_Q4_0), 1, row));
    /* in pieces that do not respect the tensors' borders */
    unsigned char all[24 + 36];
    memcpy(all, f32, 24);
    memcpy(all + 24, q4, 36);
    assert_true(nx_gguf_writer_data(w, all, 10));
    assert_true(nx_gguf_writer_data(w, all + 10, 30));
    assert_true(nx_gguf_writer_data(w, all + 40, 20));
    assert_true(nx_gguf_writer_finish(w));
    nx_gguf_writer_free(w);
}

static void small_bytes(nx_str *out)
{
    const char *path = temp_path("small.gguf");
    write_small(path);
    assert_true(nx_os_read_file(path, out, 1 << 20));
}

/* Opens n bytes that stand alone in memory, so that a sanitizer sees any step outside. */
static nx_gguf *open_bytes(const void *bytes, size_t n)
{
    unsigned char *copy = malloc(n ? n : 1);
    memcpy(copy, bytes, n);
    nx_mapping *m = nx_mapping_of_memory(copy, n, "mem");
    nx_gguf *g = nx_gguf_open_mapping(m);
    nx_mapping_unref(&m);
    if (!g)
        free(copy);
    return g;
}

static void close_bytes(nx_gguf *g)
{
    void *copy = (void *)nx_mapping_data(g->file);
    nx_gguf_free(g);
    free(copy);
}

/* Reads all that an opened file gives. */
static void touch_all(const nx_gguf *g)
{
    volatile unsigned sum = 0;
    for (size_t i = 0; i < g->n_kv; i++) {
        nx_gguf_strings s;
        for (uint64_t k = 0; k < g->kv[i].count && k < 100; k++)
            sum = sum + (unsigned)nx_gguf_item_i64(&g->kv[i], k, 1) +
                  nx_gguf_item_bool(&g->kv[i], k, 0);
        if (nx_gguf_strings_init(&s, &g->kv[i], g->kv[i].key))
            for (size_t k = 0; k < s.n; k++)
                for (size_t c = 0; c < nx_gguf_strings_at(&s, k).len; c++)
                    sum = sum + (unsigned char)nx_gguf_strings_at(&s, k).data[c];
        nx_gguf_strings_clear(&s);
        sum = sum + (unsigned)nx_gguf_str(&g->kv[i]).len;
    }
    for (size_t i = 0; i < g->n_tensors; i++)
        for (uint64_t k = 0; k < g->tensors[i].bytes; k++)
            sum = sum + g->tensors[i].data[k];
}

/* ---- reading ---- */

static void test_scalars(void **state)
{
    write_small(temp_path("s.gguf"));
    nx_gguf *g = nx_gguf_open(temp_path("s.gguf"));
    assert_non_null(g);
    assert_int_equal(g->version, 3);
    assert_int_equal(g->alignment, 64);
    assert_int_equal(g->n_kv, 17);
    assert_true(nx_slice_is(nx_gguf_get_str(g, "general.architecture"), "llama"));
    assert_int_equal(nx_gguf_u64(nx_gguf_findf(g, "%s.block_count", "llama"), 0), 30);
    assert_true(nx_gguf_get_u64(g, "big", 0) == UINT64_MAX);
    assert_int_equal(nx_gguf_get_i64(g, "minus", 0), -5);
    assert_true(nx_gguf_get_f64(g, "half", 0) == 0.5);
    assert_true(nx_gguf_get_bool(g, "yes", false));
    assert_int_equal(nx_gguf_get_u64(g, "u8", 0), 200);
    assert_int_equal(nx_gguf_get_i64(g, "i8", 0), -100);
    assert_int_equal(nx_gguf_get_u64(g, "u16", 0), 60000);
    assert_int_equal(nx_gguf_get_i64(g, "i16", 0), -30000);
    assert_true(nx_gguf_get_i64(g, "i64", 0) == INT64_MIN);
    assert_true(nx_gguf_get_f64(g, "f64", 0) == 0.1);
    nx_gguf_free(g);
}

static void test_conversions(void **state)
{
    write_small(temp_path("s.gguf"));
    nx_gguf *g = nx_gguf_open(temp_path("s.gguf"));
    assert_int_equal(nx_gguf_get_u64(g, "missing", 7), 7);
    assert_int_equal(nx_gguf_get_u64(g, "minus", 7), 7);
    assert_int_equal(nx_gguf_get_i64(g, "big", 7), 7);
    assert_int_equal(nx_gguf_get_i64(g, "half", 7), 7);
    assert_int_equal(nx_gguf_get_i64(g, "whole", 7), 8);
    assert_true(nx_gguf_get_f64(g, "minus", 7) == -5.0);
    assert_int_equal(nx_gguf_get_u64(g, "general.architecture", 7), 7);
    assert_int_equal(nx_gguf_get_u64(g, "yes", 7), 7);
    assert_true(nx_gguf_get_bool(g, "u8", true));
    assert_int_equal(nx_gguf_get_u64(g, "ints", 9), 9); /* an array is no scalar */
    assert_null(nx_gguf_get_str(g, "u8").data);
    assert_null(nx_gguf_get_str(g, "missing").data);
    nx_gguf_free(g);
}

static void test_arrays(void **state)
{
    write_small(temp_path("s.gguf"));
    nx_gguf *g = nx_gguf_open(temp_path("s.gguf"));
    const nx_gguf_kv *ints = nx_gguf_find(g, "ints");
    assert_int_equal(ints->count, 3);
    assert_int_equal(nx_gguf_item_i64(ints, 0, 9), -1);
    assert_int_equal(nx_gguf_item_i64(ints, 2, 9), 7);
    assert_int_equal(nx_gguf_item_i64(ints, 3, 9), 9);
    nx_gguf_strings s;
    assert_true(nx_gguf_strings_init(&s, nx_gguf_find(g, "words"), "words"));
    assert_int_equal(s.n, 3);
    assert_true(nx_slice_is(nx_gguf_strings_at(&s, 0), "a"));
    assert_int_equal(nx_gguf_strings_at(&s, 1).len, 0);
    assert_memory_equal(nx_gguf_strings_at(&s, 2).data, "\xC4\xA0word\0x", 8);
    nx_gguf_strings_clear(&s);
    assert_true(nx_gguf_strings_init(&s, nx_gguf_find(g, "no_words"), "no_words"));
    assert_int_equal(s.n, 0);
    nx_gguf_strings_clear(&s);
    assert_false(nx_gguf_strings_init(&s, ints, "ints"));
    assert_error("'ints'");
    assert_false(nx_gguf_strings_init(&s, NULL, "absent"));
    assert_error("'absent' is missing");
    nx_gguf_free(g);
}

static void test_tensors(void **state)
{
    write_small(temp_path("s.gguf"));
    nx_gguf *g = nx_gguf_open(temp_path("s.gguf"));
    assert_int_equal(g->n_tensors, 3);
    const nx_gguf_tensor *a = nx_gguf_tensor_find(g, "a.weight");
    assert_int_equal(a->ndim, 2);
    assert_int_equal(a->ne[0], 3);
    assert_int_equal(a->ne[1], 2);
    assert_int_equal(a->ne[2], 1);
    assert_int_equal(a->bytes, 24);
    assert_int_equal(a->offset % 64, 0);
    float v;
    memcpy(&v, a->data + 20, 4);
    assert_true(v == 6.0f);
    const nx_gguf_tensor *q = nx_gguf_tensor_find(g, "q.weight");
    assert_int_equal(q->bytes, 36);
    assert_int_equal(q->data[35], 0x5A);
    assert_int_equal(nx_gguf_tensor_find(g, "none")->bytes, 0);
    assert_null(nx_gguf_tensor_find(g, "nowhere"));
    nx_gguf_free(g);
}

static void test_copied_values(void **state)
{
    write_small(temp_path("s.gguf"));
    nx_gguf *g = nx_gguf_open(temp_path("s.gguf"));
    nx_gguf_writer *w = nx_gguf_writer_new(temp_path("copy.gguf"));
    for (size_t i = 0; i < g->n_kv; i++)
        assert_true(nx_gguf_writer_kv(w, &g->kv[i]));
    assert_true(nx_gguf_writer_finish(w));
    nx_gguf_writer_free(w);
    nx_gguf *c = nx_gguf_open(temp_path("copy.gguf"));
    assert_non_null(c);
    assert_int_equal(c->n_kv, g->n_kv);
    assert_int_equal(c->alignment, 64);
    for (size_t i = 0; i < g->n_kv; i++) {
        assert_string_equal(c->kv[i].key, g->kv[i].key);
        assert_int_equal(c->kv[i].type, g->kv[i].type);
        assert_int_equal(c->kv[i].bytes, g->kv[i].bytes);
        assert_memory_equal(c->kv[i].data, g->kv[i].data, g->kv[i].bytes);
    }
    nx_gguf_free(c);
    nx_gguf_free(g);
}

/* ---- damage ---- */

static void test_truncated_everywhere(void **state)
{
    nx_str b = {0};
    small_bytes(&b);
    nx_gguf *whole = open_bytes(b.data, b.len);
    const nx_gguf_tensor *last = nx_gguf_tensor_find(whole, "q.weight");
    size_t needed = (size_t)(last->offset + last->bytes);
    close_bytes(whole);
    for (size_t n = 0; n < needed; n++) {
        assert_null(open_bytes(b.data, n));
        assert_error("mem");
    }
    open_bytes(b.data, needed - 1);
    assert_error("truncated: tensor 'q.weight'");
    open_bytes(b.data, 400);
    assert_error("ends at byte 400");
    whole = open_bytes(b.data, needed); /* the padding after the last tensor may be missing */
    assert_non_null(whole);
    close_bytes(whole);
    nx_str_clear(&b);
}

static void test_every_bit_flipped(void **state)
{
    nx_str b = {0};
    small_bytes(&b);
    for (size_t bit = 0; bit < b.len * 8; bit++) {
        b.data[bit / 8] ^= (char)(1 << bit % 8);
        nx_gguf *g = open_bytes(b.data, b.len);
        if (g) {
            touch_all(g);
            close_bytes(g);
        }
        b.data[bit / 8] ^= (char)(1 << bit % 8);
    }
    nx_str_clear(&b);
}

/* ---- files made by hand ---- */

static void u32(nx_str *s, uint32_t v)
{
    nx_str_add(s, &v, 4);
}

static void u64(nx_str *s, uint64_t v)
{
    nx_str_add(s, &v, 8);
}

static void text(nx_str *s, const char *t)
{
    u64(s, strlen(t));
    nx_str_puts(s, t);
}

static void head(nx_str *s, uint32_t version, uint64_t n_tensors, uint64_t n_kv)
{
    nx_str_clear(s);
    nx_str_puts(s, "GGUF");
    u32(s, version);
    u64(s, n_tensors);
    u64(s, n_kv);
}

static void tensor(nx_str *s, const char *name, uint32_t ndim, uint64_t ne, uint32_t type,
                   uint64_t offset)
{
    text(s, name);
    u32(s, ndim);
    for (uint32_t i = 0; i < ndim; i++)
        u64(s, ne);
    u32(s, type);
    u64(s, offset);
}

/* Followed by room for data, the file must be refused with the text. */
static void refused(nx_str *s, const char *why)
{
    static const char zeros[4096];
    nx_str_add(s, zeros, sizeof zeros);
    assert_null(open_bytes(s->data, s->len));
    assert_error(why);
    nx_str_clear(s);
}

static void test_bad_heads(void **state)
{
    nx_str s = {0};
    nx_str_puts(&s, "version https://git-lfs.github.com/spec/v1\noid sha256:0\n");
    refused(&s, "git lfs pull");
    nx_str_puts(&s, "PK\3\4");
    refused(&s, "does not begin with 'GGUF'");
    head(&s, 1, 0, 0);
    refused(&s, "version 1");
    head(&s, 4, 0, 0);
    refused(&s, "version 4");
    head(&s, 0x03000000, 0, 0);
    refused(&s, "big-endian");
    head(&s, 3, UINT64_MAX, 0);
    refused(&s, "promises 18446744073709551615 tensors");
    head(&s, 3, 0, UINT64_MAX / 13);
    refused(&s, "metadata entries");
}

static void test_bad_metadata(void **state)
{
    nx_str s = {0};
    head(&s, 3, 0, 1), u64(&s, UINT64_MAX);
    refused(&s, "truncated");
    head(&s, 3, 0, 1), text(&s, "k"), u32(&s, 13);
    refused(&s, "type 13");
    head(&s, 3, 0, 1), text(&s, ""), u32(&s, 4);
    refused(&s, "not valid");
    head(&s, 3, 0, 1), text(&s, "k"), u32(&s, NX_GGUF_ARRAY), u32(&s, NX_GGUF_ARRAY), u64(&s, 1);
    refused(&s, "array of arrays");
    head(&s, 3, 0, 1), text(&s, "k"), u32(&s, NX_GGUF_ARRAY), u32(&s, NX_GGUF_U64);
    u64(&s, (UINT64_MAX / 8) + 2);
    refused(&s, "truncated");
    head(&s, 3, 0, 1), text(&s, "k"), u32(&s, NX_GGUF_ARRAY), u32(&s, NX_GGUF_STR),
        u64(&s, 1 << 30);
    refused(&s, "truncated");
    head(&s, 3, 0, 1), text(&s, "k"), u32(&s, NX_GGUF_STR), u64(&s, UINT64_MAX - 3);
    refused(&s, "truncated");
    head(&s, 3, 0, 1), text(&s, "k"), u32(&s, NX_GGUF_BOOL), nx_str_putc(&s, 2);
    refused(&s, "boolean");
    head(&s, 3, 0, 2), text(&s, "k"), u32(&s, NX_GGUF_U32), u32(&s, 1);
    text(&s, "k"), u32(&s, NX_GGUF_U32), u32(&s, 1);
    refused(&s, "metadata entry 'k' occurs twice");
    head(&s, 3, 0, 1), text(&s, "general.alignment"), u32(&s, NX_GGUF_U32), u32(&s, 48);
    refused(&s, "power of two");
    head(&s, 3, 0, 1), text(&s, "general.alignment"), u32(&s, NX_GGUF_U32), u32(&s, 0);
    refused(&s, "power of two");
}

static void test_bad_tensors(void **state)
{
    nx_str s = {0};
    head(&s, 3, 1, 0), tensor(&s, "t", 9, 1, NX_GGML_F32, 0);
    refused(&s, "9 dimensions");
    head(&s, 3, 1, 0), tensor(&s, "t", 1, 32, 4, 0);
    refused(&s, "type 4");
    head(&s, 3, 1, 0), tensor(&s, "t", 1, 33, NX_GGML_Q4_0, 0);
    refused(&s, "blocks of 32");
    head(&s, 3, 1, 0), tensor(&s, "t", 1, 8, NX_GGML_F32, 8);
    refused(&s, "alignment 32");
    head(&s, 3, 1, 0), tensor(&s, "t", 2, 1ull << 32, NX_GGML_F32, 0);
    refused(&s, "more elements");
    head(&s, 3, 1, 0), tensor(&s, "t", 1, 1ull << 62, NX_GGML_F32, 0);
    refused(&s, "more bytes");
    head(&s, 3, 1, 0), tensor(&s, "t", 1, 8, NX_GGML_F32, UINT64_MAX - 31);
    refused(&s, "too large");
    head(&s, 3, 1, 0), tensor(&s, "t", 1, 1 << 20, NX_GGML_F32, 0);
    refused(&s, "truncated");
    head(&s, 3, 2, 0), tensor(&s, "t", 1, 8, NX_GGML_F32, 0),
        tensor(&s, "t", 1, 8, NX_GGML_F32, 32);
    refused(&s, "tensor 't' occurs twice");
}

static void test_version_2(void **state)
{
    nx_str s = {0};
    head(&s, 2, 1, 0), tensor(&s, "t", 0, 0, NX_GGML_F32, 0);
    while (s.len % 32)
        nx_str_putc(&s, 0);
    nx_str_add(&s, "\0\0\x80\x3f", 4);
    nx_gguf *g = open_bytes(s.data, s.len);
    assert_non_null(g);
    assert_int_equal(g->version, 2);
    assert_int_equal(g->tensors[0].elements, 1);
    assert_int_equal(g->tensors[0].data[3], 0x3f);
    close_bytes(g);
    nx_str_clear(&s);
}

/* ---- splits, types, the writer's refusals ---- */

static void test_split(void **state)
{
    nx_gguf_writer *w = nx_gguf_writer_new(temp_path("split.gguf"));
    uint16_t no = 1, count = 3;
    nx_gguf_writer_scalar(w, "split.no", NX_GGUF_U16, &no);
    nx_gguf_writer_scalar(w, "split.count", NX_GGUF_U16, &count);
    assert_true(nx_gguf_writer_finish(w));
    nx_gguf_writer_free(w);
    nx_gguf *g = nx_gguf_open(temp_path("split.gguf"));
    uint32_t n, k;
    nx_gguf_split(g, &k, &n);
    assert_int_equal(k, 1);
    assert_int_equal(n, 3);
    nx_gguf_free(g);
    nx_str p = {0};
    assert_true(nx_gguf_split_path(&p, "d/m-00002-of-00003.gguf", 0, 3));
    assert_string_equal(p.data, "d/m-00001-of-00003.gguf");
    nx_str_clear(&p);
    assert_false(nx_gguf_split_path(&p, "d/m-00002-of-00004.gguf", 0, 3));
    assert_error("one of 4 parts");
    assert_false(nx_gguf_split_path(&p, "d/model.gguf", 0, 3));
    assert_error("other parts cannot be found");
    assert_null(p.data);
}

static void test_types(void **state)
{
    static const struct {
        const char *name;
        double bits;
    } known[] = {{"F32", 32},       {"bf16", 16},    {"Q4_0", 4.5},    {"Q4_1", 5},
                 {"Q5_0", 5.5},     {"Q8_0", 8.5},   {"q2_k", 2.625},  {"Q3_K", 3.4375},
                 {"Q4_K", 4.5},     {"Q5_K", 5.5},   {"Q6_K", 6.5625}, {"IQ4_XS", 4.25},
                 {"IQ1_S", 1.5625}, {"MXFP4", 4.25}, {"TQ1_0", 1.6875}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        const nx_ggml_type *t = nx_ggml_type_named(known[i].name);
        assert_non_null(t);
        assert_true(nx_ggml_type_bits(t) == known[i].bits);
        assert_ptr_equal(nx_ggml_type_find(t->id), t);
    }
    assert_null(nx_ggml_type_find(4));
    assert_null(nx_ggml_type_named("Q9_9"));
    assert_string_equal(nx_gguf_type_name(NX_GGUF_BOOL), "bool");
    assert_string_equal(nx_gguf_type_name(99), "unknown");
}

static void test_writer_refuses(void **state)
{
    const uint64_t row[] = {8};
    const char bytes[64] = {0};
    int before = temp_count();
    nx_gguf_writer *w = nx_gguf_writer_new(temp_path("bad.gguf"));
    nx_gguf_writer_tensor(w, "t", nx_ggml_type_named("f32"), 1, row);
    assert_true(nx_gguf_writer_data(w, bytes, 31));
    assert_false(nx_gguf_writer_finish(w));
    assert_error("0 of 1 tensors");
    nx_gguf_writer_free(w);

    w = nx_gguf_writer_new(temp_path("bad.gguf"));
    nx_gguf_writer_tensor(w, "t", nx_ggml_type_named("f32"), 1, row);
    assert_false(nx_gguf_writer_data(w, bytes, 33));
    assert_error("bytes more");
    nx_gguf_writer_free(w);

    w = nx_gguf_writer_new(temp_path("bad.gguf"));
    assert_true(nx_gguf_writer_u32(w, "k", 1));
    assert_false(nx_gguf_writer_u32(w, "k", 1));
    assert_false(nx_gguf_writer_u32(w, "other", 1)); /* the first error stays */
    assert_false(nx_gguf_writer_finish(w));
    assert_error("'k' is written twice");
    nx_gguf_writer_free(w);

    w = nx_gguf_writer_new(temp_path("bad.gguf"));
    assert_false(nx_gguf_writer_tensor(w, "t", nx_ggml_type_named("q8_0"), 1, row));
    assert_error("blocks of 32");
    nx_gguf_writer_free(w);
    assert_int_equal(temp_count(), before); /* nothing is left behind */
    assert_null(nx_gguf_writer_new(temp_path("no/such/folder.gguf")));
    assert_error("cannot create");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scalars),
        cmocka_unit_test(test_conversions),
        cmocka_unit_test(test_arrays),
        cmocka_unit_test(test_tensors),
        cmocka_unit_test(test_copied_values),
        cmocka_unit_test(test_truncated_everywhere),
        cmocka_unit_test(test_every_bit_flipped),
        cmocka_unit_test(test_bad_heads),
        cmocka_unit_test(test_bad_metadata),
        cmocka_unit_test(test_bad_tensors),
        cmocka_unit_test(test_version_2),
        cmocka_unit_test(test_split),
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_writer_refuses),
    };
    return cmocka_run_group_tests(tests, temp_make, temp_drop);
}
