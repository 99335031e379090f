/*
 * uniclass.h: the character classes that tokenizers name, exactly as their reference means them,
 * and the byte alphabet of byte-level models.
 */
#ifndef NX_RUNTIME_TEXT_UNICLASS_H
#define NX_RUNTIME_TEXT_UNICLASS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"
#include "base/utf8.h"

/* The first code point of n > 0 bytes; returns its bytes (for broken UTF-8, those of one U+FFFD).
 */
static inline size_t uni_next(const char *s, size_t n, uint32_t *cp)
{
    int k = nx_utf8_decode(s, n, cp);
    return (size_t)(k < 0 ? -k : k);
}

bool uni_is_space(uint32_t cp);      /* White_Space */
bool uni_is_number(uint32_t cp);     /* Nd, Nl, No */
bool uni_is_punct(uint32_t cp);      /* P*, and all of ASCII's punctuation ("$", "^" …) */
bool uni_is_word(uint32_t cp);       /* what \w is in the reference's word tests */
bool uni_is_mark(uint32_t cp);       /* M* */
bool uni_is_nonspacing(uint32_t cp); /* Mn alone: accents that can be stripped */
bool uni_is_control(uint32_t cp);    /* C*, but not tab, newline, carriage return */
bool uni_is_cjk(uint32_t cp);        /* the ideograph blocks that BERT sets apart */

/* The code point that stands for a byte in a byte-level vocabulary ("Ġ" for a space). */
uint32_t uni_byte_char(uint8_t byte);
/* The way back: 0 to 255, or -1 for a code point that stands for none. */
int uni_char_byte(uint32_t cp);
/* Appends bytes written in that alphabet. */
void uni_put_byte_chars(nx_str *out, const char *s, size_t n);

#endif
