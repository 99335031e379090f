/*
 * jinja.h: the Jinja interpreter for chat templates, set up as Hugging Face sets up jinja2 for them
 * (sandbox without mutation, trim_blocks, lstrip_blocks, break and continue, {% generation %},
 * raise_exception, strftime_now, a tojson that leaves HTML alone).
 *
 * Templates come from strangers: a render is bounded in steps, nesting, memory and output, and
 * reaches nothing but the values it is given. Errors read "[template] line N: what is wrong".
 * Integers have 64 bits (Python's have any number): a result beyond is an error.
 *
 * A parsed template never changes: any number of threads may render it at once.
 */
#ifndef NX_TEXT_JINJA_H
#define NX_TEXT_JINJA_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

typedef struct jinja_template jinja_template;

typedef struct {
    uint64_t max_steps; /* expressions evaluated, items walked, and a share of bytes looked at */
    size_t max_memory;  /* bytes a render may take for its values */
    size_t max_output;  /* bytes of text */
    int max_depth;      /* nested expressions, statements, calls and values */
    bool has_now;       /* strftime_now uses `now` instead of the clock */
    int64_t now;        /* seconds since 1970; shown in the local time zone */
} jinja_options;

/* 20 million steps, 256 MiB, 64 MiB, depth 1500, the system's clock. */
jinja_options jinja_options_default(void);

/* Parses `len` bytes of UTF-8. NULL with a message if it is no valid template. */
jinja_template *jinja_parse(const char *source, size_t len);
void jinja_free(jinja_template *t); /* NULL is allowed */

/* Does the template read a variable of this name anywhere? */
bool jinja_mentions(const jinja_template *t, const char *name);
/* Does one of its string literals or attribute names equal this text? */
bool jinja_mentions_text(const jinja_template *t, const char *text);

/*
 * Renders with the variables of `vars` (a JSON object, or NULL) and appends the text to *out.
 * `options` NULL: the default ones. On an error *out is as it was.
 */
bool jinja_render(const jinja_template *t, json_t *vars, const jinja_options *options, nx_str *out);

#endif
