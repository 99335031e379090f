#include "base/json.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/mmap.h"
#include "base/str.h"

/* ---- parsing ---- */

/* What Python's json writes although JSON has no word for it, and what we read instead. */
static const struct {
    const char *word, *value;
} python_words[] = {{"NaN", "null"}, {"Infinity", "1e308"}};

/* Appends text with those words replaced outside of strings. Returns whether there were any. */
static bool replace_python_words(nx_str *out, const char *text, size_t len)
{
    bool in_string = false, found = false;
    for (size_t i = 0; i < len; i++) {
        if (in_string && text[i] == '\\' && i + 1 < len)
            nx_str_putc(out, text[i++]);
        else if (text[i] == '"')
            in_string = !in_string;
        for (size_t w = 0; !in_string && w < 2; w++) {
            size_t n = strlen(python_words[w].word);
            if (len - i > n && memcmp(text + i, python_words[w].word, n) == 0) {
                nx_str_puts(out, python_words[w].value);
                i += n;
                found = true;
            }
        }
        nx_str_putc(out, text[i]);
    }
    return found;
}

json_t *nx_json_parse(const char *text, size_t len, const char *name)
{
    json_error_t e, again;
    json_t *j = json_loadb(text, len, JSON_DECODE_ANY, &e);
    if (j)
        return j;
    nx_str patched = {0};
    if (replace_python_words(&patched, text, len))
        j = json_loadb(patched.data, patched.len, JSON_DECODE_ANY, &again);
    nx_str_clear(&patched);
    if (j)
        return j;
    return nx_fail_null("[json] %s: line %d, column %d: %s", name, e.line, e.column, e.text);
}

json_t *nx_json_load_file(const char *path)
{
    nx_mapping *m = nx_mapping_open(path);
    if (!m)
        return NULL;
    const char *text = (const char *)nx_mapping_data(m);
    size_t len = nx_mapping_size(m);
    if (len >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0) { /* a byte order mark, from Windows */
        text += 3;
        len -= 3;
    }
    json_t *j = nx_json_parse(text, len, path);
    nx_mapping_unref(&m);
    return j;
}

/* ---- reading by path ---- */

static json_t *member(const json_t *o, const char *key, size_t len)
{
    char *copy = nx_strndup(key, len);
    json_t *v = json_object_get(o, copy);
    free(copy);
    return v;
}

json_t *nx_json_get(const json_t *o, const char *path)
{
    json_t *v = json_object_get(o, path);
    for (size_t i = strlen(path); !v && i-- > 0;) {
        json_t *inner = path[i] == '.' ? member(o, path, i) : NULL;
        if (inner)
            v = nx_json_get(inner, path + i + 1);
    }
    return v;
}

bool nx_json_has(const json_t *o, const char *path)
{
    const json_t *v = nx_json_get(o, path);
    return v && !json_is_null(v);
}

int64_t nx_json_get_int(const json_t *o, const char *path, int64_t fallback)
{
    const json_t *v = nx_json_get(o, path);
    if (json_is_integer(v))
        return json_integer_value(v);
    double f = json_is_real(v) ? json_real_value(v) : NAN;
    return f >= -0x1p63 && f < 0x1p63 && f == floor(f) ? (int64_t)f : fallback;
}

double nx_json_get_real(const json_t *o, const char *path, double fallback)
{
    const json_t *v = nx_json_get(o, path);
    return json_is_number(v) ? json_number_value(v) : fallback;
}

bool nx_json_get_bool(const json_t *o, const char *path, bool fallback)
{
    const json_t *v = nx_json_get(o, path);
    return json_is_boolean(v) ? json_is_true(v) : fallback;
}

const char *nx_json_get_str(const json_t *o, const char *path, const char *fallback)
{
    const json_t *v = nx_json_get(o, path);
    return json_is_string(v) ? json_string_value(v) : fallback;
}
