/*
 * stopper.h: stop strings in streamed text. What could still become a stop string is held back.
 */
#ifndef NX_RUNTIME_GENERATE_STOPPER_H
#define NX_RUNTIME_GENERATE_STOPPER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

typedef struct {
    const char *const *stops; /* borrowed; empty strings never match */
    size_t n_stops;
    nx_str held;
    const char *found; /* the one that ended the answer; NULL: none yet */
} stopper;

void stopper_init(stopper *s, const char *const *stops, size_t n);
void stopper_clear(stopper *s);
/* Takes new text and appends to *out what is certain to be part of the answer. True when a stop
 * string was found: *out then ends right before it, and nothing may be pushed any more. */
bool stopper_push(stopper *s, const char *text, size_t len, nx_str *out);
/* The end of the answer: what was held back is text after all. */
void stopper_flush(stopper *s, nx_str *out);

#endif
