/*
 * tokenizer.h: text to token ids and back, as Hugging Face's tokenizers do it.
 *
 * A tokenizer is built from a GGUF file's metadata, a tokenizer.json or a tokenizer.model, and never
 * changes afterwards: any number of threads may use one at the same time. A component of a file that we do
 * not know is an error that names it, never left out.
 *
 * Ids are int32_t, from 0 up to tok_vocab_size() - 1. Texts are UTF-8; a returned text belongs to
 * the tokenizer.
 */
#ifndef NX_RUNTIME_TEXT_TOKENIZER_H
#define NX_RUNTIME_TEXT_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/gguf.h"
#include "base/slice.h"
#include "base/str.h"
#include "base/vec.h"

typedef struct tokenizer tokenizer;
typedef NX_VEC(int32_t) tok_ids;

/* ---- building: NULL with an error that names the file's fault ---- */

/* From the tokenizer.ggml.* keys. The file may be closed afterwards. */
tokenizer *tok_from_gguf(const nx_gguf *g);
/* path: a tokenizer.json or a tokenizer.model (SentencePiece's own file), or the folder that holds
 * one, the first if both are there. A tokenizer_config.json beside it gives the bos, eos, unk and pad
 * tokens and whether they are added. */
tokenizer *tok_from_json(const char *path);
/* The same from memory; config may be {NULL, 0}. name stands for the file in messages. */
tokenizer *tok_from_json_memory(nx_slice json, nx_slice config, const char *name);
tokenizer *tok_from_sentencepiece_memory(nx_slice file, nx_slice config, const char *name);
void tok_free(tokenizer *t);

/* ---- encoding ---- */

enum {
    TOK_ADD_SPECIAL = 1, /* put the beginning and end tokens around the text, as the model wants */
    TOK_PARSE_SPECIAL = 2, /* "<|im_end|>" in the text is that token, not seven characters' worth.
                              For rendered templates; never for a text that a stranger wrote */
};

/* Appends the ids of text to *out. Invalid UTF-8 is read as U+FFFD; *replaced (may be NULL)
 * receives how often. False with an error (out as it was) when a pattern of the tokenizer gives up
 * on the text. */
bool tok_encode(const tokenizer *t, const char *text, size_t len, unsigned flags, tok_ids *out,
                size_t *replaced);

/* ---- decoding ---- */

/* Appends the text of ids to *out: always valid UTF-8. Special tokens are left out unless wanted.
 * False with an error (out as it was) for an id that the vocabulary does not have. */
bool tok_decode(const tokenizer *t, const int32_t *ids, size_t n, bool with_special, nx_str *out);

/* The bytes that a token stands for inside a text (they may be part of a character).
 * {NULL, 0} for an id that the vocabulary does not have. */
nx_slice tok_piece(const tokenizer *t, int32_t id);

/* ---- the vocabulary ---- */

size_t tok_vocab_size(const tokenizer *t);                     /* the largest id and one */
nx_slice tok_token(const tokenizer *t, int32_t id);            /* as the file writes it */
int32_t tok_id(const tokenizer *t, const char *s, size_t len); /* -1: no such token */
bool tok_is_special(const tokenizer *t, int32_t id);
/* Ends a generation: the end-of-text token, and what is known to end a turn or message. */
bool tok_is_eog(const tokenizer *t, int32_t id);

/* -1 where the tokenizer has none. */
int32_t tok_bos(const tokenizer *t);
int32_t tok_eos(const tokenizer *t);
int32_t tok_unk(const tokenizer *t);
int32_t tok_pad(const tokenizer *t);
/* Whether TOK_ADD_SPECIAL puts the bos token first. */
bool tok_adds_bos(const tokenizer *t);

#endif
