/*
 * json.h: jansson with our error sentences, and typed reading of settings by path.
 *
 * A path names a value through objects: "rope_scaling.factor". A key that itself holds dots is
 * found too: at each step the longest key that exists wins. The getters give the fallback where a
 * value is missing, null, or of another type.
 */
#ifndef NX_BASE_JSON_H
#define NX_BASE_JSON_H

#include <jansson.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* NULL with an error naming file, line and column. Python's NaN, Infinity and -Infinity, which
 * model settings do hold, are read as null, 1e308 and -1e308. The result: json_decref. */
json_t *nx_json_load_file(const char *path);
/* The same from memory; name stands for the file in messages. */
json_t *nx_json_parse(const char *text, size_t len, const char *name);

json_t *nx_json_get(const json_t *o, const char *path); /* borrowed; NULL if missing */
bool nx_json_has(const json_t *o, const char *path);    /* there, and not null */
int64_t nx_json_get_int(const json_t *o, const char *path, int64_t fallback); /* 3 and 3.0 */
double nx_json_get_real(const json_t *o, const char *path, double fallback);  /* 3 and 3.5 */
bool nx_json_get_bool(const json_t *o, const char *path, bool fallback);
const char *nx_json_get_str(const json_t *o, const char *path, const char *fallback); /* borrowed */

/* A file's number as an int: towards 0, the nearest there is to what is too large, 0 for what is none.
 * (A plain conversion of such a number is undefined.) */
static inline int nx_int_of(double v)
{
    return v >= INT_MAX ? INT_MAX : v <= INT_MIN ? INT_MIN : v == v ? (int)v : 0;
}

#endif
