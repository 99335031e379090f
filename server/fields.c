#include "server/fields.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void fields_open(fields *f, const json_t *o)
{
    *f = (fields){.o = o, .seen = json_object()};
}

void fields_close(fields *f)
{
    json_decref(f->seen);
    f->seen = NULL;
}

void fields_fault(fields *f, const char *key, const char *fmt, ...)
{
    if (f->fault[0])
        return;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(f->fault, sizeof f->fault, fmt, ap);
    va_end(ap);
    f->key = key;
}

bool fields_ok(const fields *f)
{
    return f->fault[0] == '\0';
}

const json_t *fields_any(fields *f, const char *key)
{
    json_object_set_new(f->seen, key, json_true());
    const json_t *v = json_object_get(f->o, key);
    return json_is_null(v) ? NULL : v;
}

int64_t fields_int(fields *f, const char *key, int64_t fallback, int64_t least, int64_t most)
{
    const json_t *v = fields_any(f, key);
    if (!v)
        return fallback;
    double real = json_is_real(v) ? json_real_value(v) : 0;
    bool whole = json_is_integer(v) || (json_is_real(v) && floor(real) == real && fabs(real) < 9e15);
    int64_t n = json_is_integer(v) ? json_integer_value(v) : whole ? (int64_t)real : 0;
    if (!whole)
        fields_fault(f, key, "'%s' must be a whole number", key);
    else if (n < least || n > most)
        fields_fault(f, key, "'%s' is %lld: it must be between %lld and %lld", key, (long long)n,
                     (long long)least, (long long)most);
    else
        return n;
    return fallback;
}

double fields_real(fields *f, const char *key, double fallback)
{
    const json_t *v = fields_any(f, key);
    if (v && !json_is_number(v))
        fields_fault(f, key, "'%s' must be a number", key);
    return json_is_number(v) ? json_number_value(v) : fallback;
}

bool fields_bool(fields *f, const char *key, bool fallback)
{
    const json_t *v = fields_any(f, key);
    if (v && !json_is_boolean(v))
        fields_fault(f, key, "'%s' must be true or false", key);
    return json_is_boolean(v) ? json_is_true(v) : fallback;
}

const char *fields_str(fields *f, const char *key, const char *fallback)
{
    const json_t *v = fields_any(f, key);
    if (v && !json_is_string(v))
        fields_fault(f, key, "'%s' must be a text", key);
    return json_is_string(v) ? json_string_value(v) : fallback;
}

const json_t *fields_array(fields *f, const char *key)
{
    const json_t *v = fields_any(f, key);
    if (v && !json_is_array(v))
        fields_fault(f, key, "'%s' must be a list", key);
    return json_is_array(v) ? v : NULL;
}

const json_t *fields_object(fields *f, const char *key)
{
    const json_t *v = fields_any(f, key);
    if (v && !json_is_object(v))
        fields_fault(f, key, "'%s' must be an object", key);
    return json_is_object(v) ? v : NULL;
}

void fields_skip(fields *f, const char *const *keys)
{
    for (; *keys; keys++)
        json_object_set_new(f->seen, *keys, json_true());
}

json_t *fields_unknown(const fields *f)
{
    json_t *list = NULL, *v;
    const char *key;
    json_object_foreach((json_t *)(uintptr_t)f->o, key, v)
        if (!json_object_get(f->seen, key)) {
            list = list ? list : json_array();
            json_array_append_new(list, json_string(key));
        }
    return list;
}
