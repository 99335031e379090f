/*
 * importance.h: which columns of a weight matter: the mean square of what a model multiplies them by
 * while it reads a text.
 */
#ifndef NX_RUNTIME_CONVERT_IMPORTANCE_H
#define NX_RUNTIME_CONVERT_IMPORTANCE_H

#include "runtime/convert/items.h"

typedef struct importance importance;

/* Reads the text with the model. NULL with a message. */
importance *importance_measure(const char *name, const char *text, size_t length,
                               bool (*progress)(double fraction, void *user), void *user);
/* [cols] of a weight, mean 1; NULL where the text did not show it. */
const float *importance_of(const importance *all, const item *t);
void importance_free(importance *all);

#endif
