/*
 * onload.h: a full-precision model is brought to fewer bits when it is loaded, once: the result lies
 * in the cache folder, by the source's files and the settings.
 */
#ifndef NX_RUNTIME_CONVERT_ONLOAD_H
#define NX_RUNTIME_CONVERT_ONLOAD_H

#include "base/str.h"
#include "nexus/nexus.h"

/* Appends the path of the model to load in place of `name`; nothing where `name` itself is right: it is
 * quantized already, or fits as it is. o->quantize: "auto", "BITS" or "BITS:GROUP". *note receives a line
 * that says what was done. */
nexus_status onload_path(const char *name, const nexus_load_options *o, nx_str *path, nx_str *note);

/* The bits that `auto` chooses: 16 (as it is, or halved from float32), 8, 6, 4 or 3. `fits` says whether
 * the model would fit the free memory with so many. */
int onload_bits(uint64_t parameters, bool (*fits)(int bits, void *arg), void *arg);

#endif
