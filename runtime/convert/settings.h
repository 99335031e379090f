/*
 * settings.h: a model's settings between config.json and GGUF's metadata.
 */
#ifndef NX_RUNTIME_CONVERT_SETTINGS_H
#define NX_RUNTIME_CONVERT_SETTINGS_H

#include "runtime/convert/plan.h"

/* config.json of the target folder: the source's with its quantization replaced, or made of GGUF's
 * metadata. NULL with a message. */
json_t *settings_config(const plan *p);
/* The metadata of the target file but the tokenizer's. False with a message. */
bool settings_metadata(const plan *p, nx_gguf_writer *w);

/* Llama 3's rotation as GGUF has it: divisors of the frequencies, [dims / 2] (to be freed), which
 * belong into the tensor rope_freqs; and the long and short ones of "longrope". NULL where the
 * settings ask for none. */
float *settings_rope_factors(const plan *p, const char *tensor, size_t *n);

#endif
