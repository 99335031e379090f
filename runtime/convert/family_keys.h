/*
 * family_keys.h: what GGUF's metadata says of one family beyond the settings that all share
 * (settings.c): the keys of the family's own config table, read backwards, and what differs by layer.
 */
#ifndef NX_RUNTIME_CONVERT_FAMILY_KEYS_H
#define NX_RUNTIME_CONVERT_FAMILY_KEYS_H

#include "runtime/convert/plan.h"

/* Where a model keeps keys and values in some layers only: how many heads in layer i. */
bool family_heads_differ(const model *m);
/* Whether each layer is either attention (or a state) or a network. */
bool family_networks_differ(const model *m);
/* The member of the family's struct that GGUF's key is read into, as a number; false: no such key. */
bool family_member(const model *m, const char *key, double *out);
/* Writes all of it but the keys for which `shared` is true. */
bool family_put_keys(const plan *p, nx_gguf_writer *w, bool (*shared)(const char *key));

#endif
