/*
 * vocab.h: tokenizers and chat templates between a folder's JSON files and GGUF's metadata.
 */
#ifndef NX_RUNTIME_CONVERT_VOCAB_H
#define NX_RUNTIME_CONVERT_VOCAB_H

#include <stdbool.h>

#include "base/gguf.h"
#include "base/json.h"

/* Writes tokenizer.json, tokenizer_config.json and generation_config.json into the folder. A file
 * without a vocabulary leaves nothing there. False with a message. */
bool vocab_to_folder(const nx_gguf *g, const char *folder, int max_context);
/* Writes tokenizer.ggml.* of the folder's tokenizer; `config`: its config.json, n: the rows of the
 * embedding. Of tokenizer.json, else of tokenizer.model; a folder without either is no error. */
bool vocab_to_gguf(nx_gguf_writer *w, const char *folder, const json_t *config, int n);

#endif
