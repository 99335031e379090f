/*
 * json_stream.h: JSON read token by token from memory, without building a tree: for files of many
 * megabytes (tokenizer.json, headers of safetensors).
 *
 * Strict RFC 8259: one value, valid UTF-8, no lone surrogates, no trailing commas. The stream
 * checks the grammar, so a caller sees only well-nested tokens.
 *
 *     nx_json_stream s;
 *     nx_json_stream_init(&s, data, size, path);
 *     if (nx_json_next(&s) != NX_JSON_OBJECT) …
 *     while (nx_json_next(&s) == NX_JSON_KEY) {
 *         if (nx_slice_is(s.text, "vocab")) read_vocab(&s);
 *         else if (!nx_json_skip_value(&s)) break;
 *     }
 *     if (s.token != NX_JSON_OBJECT_END) fail (nx_error_message says why when it is NX_JSON_ERROR)
 *     nx_json_stream_clear(&s);
 */
#ifndef NX_BASE_JSON_STREAM_H
#define NX_BASE_JSON_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "base/str.h"

typedef enum {
    NX_JSON_ERROR, /* nx_error_message names file, line and column; stays so */
    NX_JSON_END,   /* after the one value; stays so */
    NX_JSON_OBJECT,
    NX_JSON_OBJECT_END,
    NX_JSON_ARRAY,
    NX_JSON_ARRAY_END,
    NX_JSON_KEY,    /* text: the key, unescaped */
    NX_JSON_STRING, /* text: the string, unescaped */
    NX_JSON_NUMBER, /* text: as written */
    NX_JSON_TRUE,
    NX_JSON_FALSE,
    NX_JSON_NULL,
} nx_json_token;

enum { NX_JSON_MAX_DEPTH = 512 };

typedef struct {
    nx_json_token token; /* the last one returned */
    nx_slice text;       /* of KEY, STRING, NUMBER. Points into the input where no escape had to be
                            undone, else into scratch: valid until the next call */
    bool text_is_input;  /* text points into the input, so it stays valid as long as that does */
    int depth;           /* objects and arrays that are open */
    /* private */
    const char *name;
    const char *begin, *at, *end;
    int expect;
    nx_str scratch;
    unsigned char is_object[NX_JSON_MAX_DEPTH / 8]; /* a bit a level */
} nx_json_stream;

/* data must outlive the stream; name (borrowed) stands for the file in messages. */
void nx_json_stream_init(nx_json_stream *s, const char *data, size_t size, const char *name);
void nx_json_stream_clear(nx_json_stream *s);

nx_json_token nx_json_next(nx_json_stream *s);
/* Reads past one whole value (the one to come: after KEY, or an item of an array). At the end of
 * an array it consumes the end and returns true with token NX_JSON_ARRAY_END. False on error. */
bool nx_json_skip_value(nx_json_stream *s);
/* After OBJECT or ARRAY: reads to its end. */
bool nx_json_skip_rest(nx_json_stream *s);

/* The current NUMBER. False, with an error, when the token is none or does not fit (an integer may
 * be written 3.0 or 1e3). */
bool nx_json_number_i64(nx_json_stream *s, int64_t *out);
bool nx_json_number_u64(nx_json_stream *s, uint64_t *out);
bool nx_json_number_f64(nx_json_stream *s, double *out);

/* Reads the next token and demands its kind: text of a string, a number, a bool. */
bool nx_json_read_string(nx_json_stream *s, nx_slice *out);
bool nx_json_read_i64(nx_json_stream *s, int64_t *out);
bool nx_json_read_f64(nx_json_stream *s, double *out);
bool nx_json_read_bool(nx_json_stream *s, bool *out);

/* Records an error at the current position: "file: line 3, column 7: what". Returns false, and the
 * stream gives NX_JSON_ERROR from now on. */
bool nx_json_stream_fail(nx_json_stream *s, const char *what);

#endif
