/*
 * fields.h: reading a request's JSON object: typed, with a sentence for what is wrong, and a list of
 * what nobody read.
 */
#ifndef NX_SERVER_FIELDS_H
#define NX_SERVER_FIELDS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct {
    const json_t *o; /* borrowed */
    json_t *seen;    /* keys that were asked for */
    char fault[256]; /* the first problem; "": none */
    const char *key; /* the field it is about */
} fields;

void fields_open(fields *f, const json_t *o);
void fields_close(fields *f);

/* A missing or null field gives the fallback; one of another type or out of range is a fault. */
int64_t fields_int(fields *f, const char *key, int64_t fallback, int64_t least, int64_t most);
double fields_real(fields *f, const char *key, double fallback);
bool fields_bool(fields *f, const char *key, bool fallback);
const char *fields_str(fields *f, const char *key, const char *fallback);
const json_t *fields_array(fields *f, const char *key);  /* NULL: missing */
const json_t *fields_object(fields *f, const char *key); /* NULL: missing */
const json_t *fields_any(fields *f, const char *key);    /* NULL: missing or null */

/* Fields that mean nothing here and harm nothing ("user"): known, and not read. */
void fields_skip(fields *f, const char *const *keys);
void fields_fault(fields *f, const char *key, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
bool fields_ok(const fields *f);

/* Keys that nobody asked for, as a new array of texts; NULL if there are none. */
json_t *fields_unknown(const fields *f);

#endif
