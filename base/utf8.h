/*
 * utf8.h: reading UTF-8 that may be broken. Writing is nx_str_put_utf8.
 */
#ifndef NX_BASE_UTF8_H
#define NX_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

/* Decodes the first code point of n > 0 bytes. Returns the bytes it takes, 1 to 4. For an invalid
 * sequence returns minus the bytes that one U+FFFD stands for (the longest prefix of a valid
 * sequence, or one byte), and sets *cp to 0xFFFD. */
int nx_utf8_decode(const char *s, size_t n, uint32_t *cp);

bool nx_utf8_valid(const char *s, size_t n);
/* Bytes of the longest valid beginning. */
size_t nx_utf8_valid_prefix(const char *s, size_t n);

/* Appends s with each invalid sequence replaced by U+FFFD, as the WHATWG decoder and Python's
 * errors="replace" do. Returns how many were replaced. */
size_t nx_utf8_replace(nx_str *out, const char *s, size_t n);

/* Bytes at the end that begin a character whose rest is still to come: 0 to 3. What such a tail
 * stands behind is left unjudged. */
size_t nx_utf8_incomplete_tail(const char *s, size_t n);

#endif
