#include "base/npy.h"

#include <string.h>

#include "base/error.h"
#include "base/slice.h"

/* The header is a Python dictionary: {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), } */
typedef struct {
    const char *at, *end;
    const char *name; /* of the file, for messages */
} reader;

static bool fail(const reader *r, const char *what)
{
    return nx_fail("[npy] %s: the header is damaged: %s", r->name, what);
}

static void skip_space(reader *r)
{
    while (r->at < r->end && strchr(" \t\r\n", *r->at) && *r->at)
        r->at++;
}

/* Steps over c if it comes next. */
static bool accept(reader *r, char c)
{
    skip_space(r);
    if (r->at == r->end || *r->at != c)
        return false;
    r->at++;
    return true;
}

static bool accept_word(reader *r, const char *word)
{
    size_t n = strlen(word);
    skip_space(r);
    if ((size_t)(r->end - r->at) < n || memcmp(r->at, word, n) != 0)
        return false;
    r->at += n;
    return true;
}

/* In either kind of quotes; no name or type that we accept holds an escape. */
static bool read_text(reader *r, nx_slice *out)
{
    skip_space(r);
    if (r->at == r->end || (*r->at != '\'' && *r->at != '"'))
        return fail(r, "a text in quotes is expected");
    char quote = *r->at++;
    const char *close = memchr(r->at, quote, (size_t)(r->end - r->at));
    if (!close)
        return fail(r, "a quote is not closed");
    *out = (nx_slice){r->at, (size_t)(close - r->at)};
    r->at = close + 1;
    return true;
}

static bool read_number(reader *r, uint64_t *out)
{
    uint64_t v = 0;
    skip_space(r);
    const char *begin = r->at;
    while (r->at < r->end && *r->at >= '0' && *r->at <= '9')
        if (__builtin_mul_overflow(v, 10u, &v) ||
            __builtin_add_overflow(v, (unsigned)(*r->at++ - '0'), &v))
            return fail(r, "a dimension is too large");
    if (r->at == begin)
        return fail(r, "a whole number is expected in the shape");
    if (r->at < r->end && *r->at == 'L') /* Python 2 marked long integers */
        r->at++;
    *out = v;
    return true;
}

static bool read_shape(reader *r, nx_npy *f)
{
    f->ndim = 0;
    if (!accept(r, '('))
        return fail(r, "the shape must be a tuple");
    while (!accept(r, ')')) {
        if (f->ndim == NX_NPY_MAX_DIMS)
            return fail(r, "too many dimensions");
        if (!read_number(r, &f->shape[f->ndim++]))
            return false;
        if (accept(r, ','))
            continue;
        if (accept(r, ')'))
            break;
        return fail(r, "',' or ')' is expected in the shape");
    }
    return true;
}

/* "<f4": byte order, kind, bytes an element. */
static bool read_descr(reader *r, nx_npy *f)
{
    nx_slice t;
    skip_space(r);
    if (r->at < r->end && *r->at == '[')
        return nx_fail("[npy] %s holds a structured type, which is not supported", r->name);
    if (!read_text(r, &t))
        return false;
    bool plain = t.len >= 3 && t.len <= 4 && strchr("<>|=", t.data[0]) && t.data[0] &&
                 strchr("biufcV", t.data[1]) && t.data[1];
    unsigned size = 0;
    for (size_t i = 2; plain && i < t.len; i++)
        size = t.data[i] >= '0' && t.data[i] <= '9' ? size * 10 + (unsigned)(t.data[i] - '0') : 99;
    if (!plain || (size != 1 && size != 2 && size != 4 && size != 8 && size != 16))
        return nx_fail("[npy] %s: elements of type '%.*s' are not supported", r->name,
                       (int)(t.len < 40 ? t.len : 40), t.data);
    f->swapped = t.data[0] == '>' && size > 1;
    f->kind = t.data[1];
    f->size = size;
    return true;
}

static bool read_order(reader *r, nx_npy *f)
{
    f->fortran = accept_word(r, "True");
    return f->fortran || accept_word(r, "False") || fail(r, "fortran_order must be True or False");
}

/* One entry of the dictionary; seen has a bit a key. */
static bool read_entry(reader *r, nx_npy *f, unsigned *seen)
{
    static const struct {
        const char *key;
        bool (*read)(reader *, nx_npy *);
    } keys[] = {{"descr", read_descr}, {"fortran_order", read_order}, {"shape", read_shape}};
    nx_slice key;
    if (!read_text(r, &key))
        return false;
    if (!accept(r, ':'))
        return fail(r, "':' is expected after a key");
    for (unsigned i = 0; i < 3; i++) {
        if (!nx_slice_is(key, keys[i].key))
            continue;
        if (*seen & 1u << i)
            return fail(r, "a key occurs twice");
        *seen |= 1u << i;
        return keys[i].read(r, f);
    }
    return fail(r, "a key is not known");
}

static bool read_dictionary(reader *r, nx_npy *f)
{
    unsigned seen = 0;
    if (!accept(r, '{'))
        return fail(r, "'{' is expected");
    while (!accept(r, '}')) {
        if (!read_entry(r, f, &seen))
            return false;
        if (accept(r, ','))
            continue;
        if (accept(r, '}'))
            break;
        return fail(r, "',' or '}' is expected");
    }
    skip_space(r);
    if (r->at != r->end)
        return fail(r, "more text after the dictionary");
    return seen == 7 || fail(r, "descr, fortran_order or shape is missing");
}

bool nx_npy_data_offset(const unsigned char *first, const char *name, uint64_t *offset)
{
    if (memcmp(first, "\x93NUMPY", 6) != 0)
        return nx_fail("[npy] %s is no .npy file: it does not begin with \\x93NUMPY", name);
    if (first[6] < 1 || first[6] > 3)
        return nx_fail("[npy] %s is of .npy version %u; versions 1 to 3 are supported", name,
                       first[6]);
    uint64_t n = first[8] | (uint64_t)first[9] << 8;
    if (first[6] > 1)
        n |= (uint64_t)first[10] << 16 | (uint64_t)first[11] << 24;
    if (n > NX_NPY_MAX_HEADER || n < 2)
        return nx_fail("[npy] %s announces a header of %llu bytes", name, (unsigned long long)n);
    *offset = n + (first[6] > 1 ? 12 : 10);
    return true;
}

static bool count_bytes(nx_npy *f, uint64_t file_bytes, const char *name)
{
    bool too_many = false;
    f->elements = 1;
    for (int i = 0; i < f->ndim; i++)
        too_many |= __builtin_mul_overflow(f->elements, f->shape[i], &f->elements);
    too_many |= __builtin_mul_overflow(f->elements, (uint64_t)f->size, &f->bytes);
    if (too_many || f->bytes > UINT64_MAX - f->data_offset)
        return nx_fail("[npy] %s has more elements than can be counted", name);
    if (f->data_offset + f->bytes > file_bytes)
        return nx_fail("[npy] %s: truncated: the elements end at byte %llu, the file at byte %llu",
                       name, (unsigned long long)(f->data_offset + f->bytes),
                       (unsigned long long)file_bytes);
    return true;
}

bool nx_npy_parse(nx_npy *out, const void *bytes, size_t n, uint64_t file_bytes, const char *name)
{
    uint64_t data = 0;
    nx_npy f = {0};
    if (n < NX_NPY_PREFIX)
        return nx_fail("[npy] %s: truncated: only %zu bytes are there", name, n);
    if (!nx_npy_data_offset(bytes, name, &data))
        return false;
    if (data > n)
        return nx_fail("[npy] %s: truncated: the header ends at byte %llu, the file at byte %zu",
                       name, (unsigned long long)data, n);
    const char *text = bytes;
    unsigned prefix = text[6] > 1 ? 12 : 10;
    reader r = {text + prefix, text + data, name};
    f.data_offset = data;
    if (!read_dictionary(&r, &f) || !count_bytes(&f, file_bytes, name))
        return false;
    *out = f;
    return true;
}

void nx_npy_header(nx_str *out, const nx_npy *info)
{
    nx_str text = {0};
    nx_str_printf(&text, "{'descr': '%c%c%u', 'fortran_order': %s, 'shape': (",
                  info->size > 1 ? '<' : '|', info->kind, info->size,
                  info->fortran ? "True" : "False");
    for (int i = 0; i < info->ndim; i++)
        nx_str_printf(&text, i ? " %llu," : "%llu,", (unsigned long long)info->shape[i]);
    if (info->ndim > 1)
        nx_str_truncate(&text, text.len - 1); /* only a tuple of one keeps its comma */
    nx_str_puts(&text, "), }");
    size_t total = (10 + text.len + 1 + 63) / 64 * 64; /* 64 dimensions fit version 1 */
    while (10 + text.len + 1 < total)
        nx_str_putc(&text, ' ');
    nx_str_putc(&text, '\n');
    nx_str_add(out, "\x93NUMPY\1\0", 8);
    nx_str_putc(out, (char)(text.len & 0xFF));
    nx_str_putc(out, (char)(text.len >> 8));
    nx_str_add(out, text.data, text.len);
    nx_str_clear(&text);
}
