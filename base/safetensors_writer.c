/*
 * safetensors_writer.c: writing a safetensors file: tensors in the order they are declared.
 */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/outfile.h"
#include "base/safetensors.h"
#include "base/utf8.h"

struct nx_safetensors_writer {
    nx_outfile *file;         /* NULL: only the header is wanted */
    char *error;              /* the first one; later calls repeat it */
    nx_str metadata, tensors; /* JSON members, each followed by a comma */
    nx_map keys, names;
    uint64_t data_bytes; /* that the tensors take */
    uint64_t written;
    bool header_written;
};

nx_safetensors_writer *nx_safetensors_writer_new(const char *path)
{
    nx_outfile *file = path ? nx_outfile_open(path) : NULL;
    if (path && !file)
        return NULL;
    nx_safetensors_writer *w = nx_calloc(1, sizeof *w);
    w->file = file;
    return w;
}

void nx_safetensors_writer_free(nx_safetensors_writer *w)
{
    if (!w)
        return;
    nx_outfile_free(w->file);
    nx_str_clear(&w->metadata);
    nx_str_clear(&w->tensors);
    nx_map_clear(&w->keys);
    nx_map_clear(&w->names);
    free(w->error);
    free(w);
}

static bool failed(nx_safetensors_writer *w)
{
    if (!w->error)
        w->error = nx_strdup(nx_error_message());
    return false;
}

static bool check_usable(nx_safetensors_writer *w)
{
    return !w->error || nx_fail("%s", w->error);
}

static void put_quoted(nx_str *out, const char *text)
{
    nx_str_putc(out, '"');
    for (const char *p = text; *p; p++) {
        unsigned char c = (unsigned char)*p;
        if (c == '"' || c == '\\')
            nx_str_putc(out, '\\');
        if (c < 0x20)
            nx_str_printf(out, "\\u%04x", c);
        else
            nx_str_putc(out, (char)c);
    }
    nx_str_putc(out, '"');
}

static bool declare(nx_safetensors_writer *w, nx_map *names, const char *name, const char *kind)
{
    if (!check_usable(w))
        return false;
    if (w->header_written)
        nx_fail("[safetensors] %s '%s' comes too late: data was already written", kind, name);
    else if (!nx_utf8_valid(name, strlen(name)))
        nx_fail("[safetensors] the name of a %s is not valid UTF-8", kind);
    else if (!nx_map_set(names, name, strlen(name), 0))
        nx_fail("[safetensors] %s '%s' is written twice", kind, name);
    else
        return true;
    return failed(w);
}

bool nx_safetensors_writer_metadata(nx_safetensors_writer *w, const char *key, const char *value)
{
    if (!declare(w, &w->keys, key, "metadata"))
        return false;
    if (!nx_utf8_valid(value, strlen(value))) {
        nx_fail("[safetensors] the value of metadata '%s' is not valid UTF-8", key);
        return failed(w);
    }
    put_quoted(&w->metadata, key);
    nx_str_putc(&w->metadata, ':');
    put_quoted(&w->metadata, value);
    nx_str_putc(&w->metadata, ',');
    return true;
}

static bool tensor_bytes(const char *name, nx_safetensors_dtype dtype, int ndim,
                         const uint64_t *shape, uint64_t *bytes)
{
    uint64_t bits = nx_safetensors_dtype_bits(dtype);
    bool too_many = false;
    for (int i = 0; i < ndim; i++)
        too_many |= __builtin_mul_overflow(bits, shape[i], &bits);
    if (too_many)
        return nx_fail("[safetensors] tensor '%s' is too large", name);
    if (bits % 8)
        return nx_fail("[safetensors] tensor '%s' does not fill whole bytes", name);
    *bytes = bits / 8;
    return true;
}

bool nx_safetensors_writer_tensor(nx_safetensors_writer *w, const char *name,
                                  nx_safetensors_dtype dtype, int ndim, const uint64_t *shape)
{
    uint64_t bytes = 0;
    NX_BUG_IF(dtype >= NX_SAFETENSORS_N_DTYPES || ndim < 0);
    if (!declare(w, &w->names, name, "tensor"))
        return false;
    if (strcmp(name, "__metadata__") == 0) {
        nx_fail("[safetensors] a tensor cannot be named __metadata__");
        return failed(w);
    }
    if (!tensor_bytes(name, dtype, ndim, shape, &bytes))
        return failed(w);
    put_quoted(&w->tensors, name);
    nx_str_printf(&w->tensors, ":{\"dtype\":\"%s\",\"shape\":[", nx_safetensors_dtype_name(dtype));
    for (int i = 0; i < ndim; i++)
        nx_str_printf(&w->tensors, i ? ",%llu" : "%llu", (unsigned long long)shape[i]);
    nx_str_printf(&w->tensors, "],\"data_offsets\":[%llu,%llu]},",
                  (unsigned long long)w->data_bytes, (unsigned long long)(w->data_bytes + bytes));
    if (__builtin_add_overflow(w->data_bytes, bytes, &w->data_bytes)) {
        nx_fail("[safetensors] tensor '%s' makes the file too large", name);
        return failed(w);
    }
    return true;
}

bool nx_safetensors_writer_header(nx_safetensors_writer *w, nx_str *out)
{
    if (!check_usable(w))
        return false;
    nx_str text = {0};
    nx_str_putc(&text, '{');
    if (w->metadata.len) {
        nx_str_puts(&text, "\"__metadata__\":{");
        nx_str_add(&text, w->metadata.data, w->metadata.len - 1); /* without the last comma */
        nx_str_puts(&text, "},");
    }
    nx_str_add(&text, nx_str_cstr(&w->tensors), w->tensors.len);
    if (text.len > 1)
        nx_str_truncate(&text, text.len - 1); /* the last comma */
    nx_str_putc(&text, '}');
    while (text.len % 8)
        nx_str_putc(&text, ' ');
    bool ok = text.len <= NX_SAFETENSORS_MAX_HEADER;
    if (ok) {
        uint64_t n = text.len;
        for (int i = 0; i < 8; i++)
            nx_str_putc(out, (char)(n >> (8 * i) & 0xFF));
        nx_str_add(out, text.data, text.len);
    } else {
        nx_fail("[safetensors] the header would have %zu bytes; the format allows %u", text.len,
                NX_SAFETENSORS_MAX_HEADER);
        failed(w);
    }
    nx_str_clear(&text);
    return ok;
}

static bool write_header(nx_safetensors_writer *w)
{
    NX_BUG_IF(!w->file);
    if (w->header_written)
        return true;
    nx_str head = {0};
    bool ok =
        nx_safetensors_writer_header(w, &head) && nx_outfile_write(w->file, head.data, head.len);
    nx_str_clear(&head);
    w->header_written = true;
    return ok;
}

bool nx_safetensors_writer_data(nx_safetensors_writer *w, const void *bytes, size_t n)
{
    if (!check_usable(w))
        return false;
    if (n > w->data_bytes - w->written) {
        nx_fail("[safetensors] more data than the tensors take (%llu bytes)",
                (unsigned long long)w->data_bytes);
        return failed(w);
    }
    if (!write_header(w) || !nx_outfile_write(w->file, bytes, n))
        return failed(w);
    w->written += n;
    return true;
}

bool nx_safetensors_writer_finish(nx_safetensors_writer *w)
{
    if (!check_usable(w))
        return false;
    if (!write_header(w))
        return failed(w);
    if (w->written != w->data_bytes) {
        nx_fail("[safetensors] only %llu of %llu bytes of data were given",
                (unsigned long long)w->written, (unsigned long long)w->data_bytes);
        return failed(w);
    }
    return nx_outfile_commit(w->file) || failed(w);
}
