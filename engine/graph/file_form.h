/*
 * file_form.h: operations in files of functions: the fields of a primitive's state to bytes and back.
 */
#ifndef NX_GRAPH_FILE_FORM_H
#define NX_GRAPH_FILE_FORM_H

#include <string.h>

#include "base/str.h"
#include "engine/core/prim.h"

/* The primitive of a number; NULL for what is none. */
const nx_prim *nx_prim_of(int id);
/* Class and state of a primitive. */
nx_file_form nx_file_form_of(const nx_prim *p);

static inline void nx_put_u8(nx_str *s, unsigned v)
{
    nx_str_putc(s, (char)v);
}
void nx_put_u32(nx_str *s, uint32_t v);
void nx_put_u64(nx_str *s, uint64_t v);
void nx_put_text(nx_str *s, const char *text);
void nx_put_dtype(nx_str *s, nx_dtype t);
void nx_put_ints(nx_str *s, const int *v, int n); /* a shape */
void nx_put_state(nx_str *s, const nx_prim *p, const void *params);

/* Bytes that may be anything: a take_ fails, with a message, where they end. */
typedef struct {
    const unsigned char *at, *end;
    const char *name; /* of the file */
} nx_bytes;

bool nx_take_u8(nx_bytes *b, unsigned *v);
bool nx_take_u32(nx_bytes *b, uint32_t *v);
bool nx_take_u64(nx_bytes *b, uint64_t *v);
/* The length of a list whose items have at least `item` bytes each. */
bool nx_take_length(nx_bytes *b, size_t item, size_t *n);
bool nx_take_flag(nx_bytes *b, bool *v);
bool nx_take_text(nx_bytes *b, nx_str *text); /* replaces what it held */
bool nx_take_dtype(nx_bytes *b, nx_dtype *t);
/* A shape: no negative dimension, and few enough elements to be counted in bytes. */
bool nx_take_shape(nx_bytes *b, nx_spec *spec);
/* The primitive of a class by its state, and its parameters in params[params_size], zero elsewhere.
 * NULL after nx_fail. */
const nx_prim *nx_take_state(nx_bytes *b, const char *class_name, void *params);
enum { NX_PARAMS_MAX = 1024 }; /* no parameter struct is larger */

#endif
