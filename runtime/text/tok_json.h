/*
 * tok_json.h: the pipeline components of a tokenizer.json, from their JSON: normalizer,
 * pre-tokenizer, post-processor, decoder. Each fills its part of the tokenizer; null is none.
 * False with an error that names a component we do not know.
 */
#ifndef NX_RUNTIME_TEXT_TOK_JSON_H
#define NX_RUNTIME_TEXT_TOK_JSON_H

#include <jansson.h>

#include "runtime/text/tok_impl.h"

bool tok_json_normalizer(tokenizer *t, const json_t *o);
bool tok_json_pre_tokenizer(tokenizer *t, const json_t *o);
bool tok_json_post_processor(tokenizer *t, const json_t *o);
bool tok_json_decoder(tokenizer *t, const json_t *o);

/* What a tokenizer_config.json says to a tokenizer.model: special tokens, and tokens besides the model's. */
bool tok_json_settings(tokenizer *t, nx_slice config, const char *name);

#endif
