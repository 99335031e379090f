/*
 * regex.h: the regular expressions of tokenizer files. They are written for Oniguruma (Ruby
 * syntax); we run them with PCRE2 and translate what the two mean differently.
 *
 * Characters that were assigned after the Unicode version of the PCRE2 at hand (14 in 10.42) have
 * no class yet and may be cut differently.
 *
 * A compiled rx may be used by many threads; each needs an rx_state of its own.
 */
#ifndef NX_RUNTIME_TEXT_REGEX_H
#define NX_RUNTIME_TEXT_REGEX_H

#include <stdbool.h>
#include <stddef.h>

#include "base/slice.h"
#include "base/str.h"

typedef struct rx_pattern rx_pattern;
typedef struct rx_state rx_state;

/* NULL with an error that quotes the pattern: bad syntax, or something we cannot express. */
rx_pattern *rx_compile(nx_slice pattern);
void rx_free(rx_pattern *r);

rx_state *rx_state_new(void);
void rx_state_free(rx_state *s);

/* The first match of r in text[from..len), which must be valid UTF-8. 1 and the range; 0: none;
 * -1 with an error: the matcher ran out of its limits. */
int rx_find(rx_state *s, const rx_pattern *r, const char *text, size_t len, size_t from,
            size_t *begin, size_t *end);

/* The translation alone, for tests: false with an error as above. */
bool rx_translate(nx_str *out, nx_slice pattern);

#endif
