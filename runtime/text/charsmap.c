#include "runtime/text/charsmap.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "base/error.h"
#include "base/utf8.h"
#include "runtime/text/uniclass.h"

/* A unit of the trie (darts-clone): bits 0-7 its label, bit 8 whether a value hangs on it, bits
 * 10-30 the offset to its children (shifted by 8 more when bit 9 is set); a value unit has bit 31
 * set and the value in the others. */
static uint32_t label(uint32_t u)
{
    return u & ((1u << 31) | 0xFF);
}

static size_t offset(uint32_t u)
{
    return (size_t)(u >> 10) << ((u & (1u << 9)) >> 6);
}

bool charsmap_init(charsmap *m, const void *data, size_t size)
{
    const unsigned char *p = data;
    uint32_t trie;
    if (size < 4)
        return nx_fail("[tokenizer] the precompiled charsmap is too short (%zu bytes)", size);
    memcpy(&trie, p, 4);
    if (trie > size - 4 || trie % 4 || trie == 0)
        return nx_fail("[tokenizer] the precompiled charsmap says a trie of %u bytes and has %zu",
                       (unsigned)trie, size - 4);
    m->n_units = trie / 4;
    m->units = nx_malloc(trie);
    memcpy(m->units, p + 4, trie);
    m->pool_size = size - 4 - trie;
    m->pool = nx_malloc(m->pool_size + 1);
    memcpy(m->pool, p + 4 + trie, m->pool_size);
    m->pool[m->pool_size] = '\0';
    return true;
}

static int base64_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool charsmap_init_base64(charsmap *m, nx_slice text)
{
    nx_str bytes = {0};
    uint32_t bits = 0;
    int have = 0;
    while (text.len && text.data[text.len - 1] == '=')
        text.len--;
    for (size_t i = 0; i < text.len; i++) {
        int v = base64_value(text.data[i]);
        if (v < 0) {
            nx_str_clear(&bytes);
            return nx_fail("[tokenizer] the precompiled charsmap is not base64");
        }
        bits = bits << 6 | (uint32_t)v;
        have += 6;
        if (have >= 8) {
            have -= 8;
            nx_str_putc(&bytes, (char)(bits >> have));
        }
    }
    bool ok = charsmap_init(m, nx_str_cstr(&bytes), bytes.len);
    nx_str_clear(&bytes);
    return ok;
}

void charsmap_clear(charsmap *m)
{
    free(m->units);
    free(m->pool);
    *m = (charsmap){0};
}

/* What a known beginning of s is replaced by, the shortest or the longest one; NULL if none is
 * known. */
static const char *lookup(const charsmap *m, const char *s, size_t n, bool longest, size_t *taken)
{
    const char *found = NULL;
    size_t at = offset(m->units[0]);
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];
        at ^= c;
        if (c == 0 || at >= m->n_units || label(m->units[at]) != c)
            break;
        uint32_t unit = m->units[at];
        at ^= offset(unit);
        if (!(unit >> 8 & 1))
            continue;
        uint32_t value = at < m->n_units ? m->units[at] & 0x7FFFFFFF : UINT32_MAX;
        if (value <= m->pool_size) {
            found = m->pool + value;
            *taken = i + 1;
        }
        if (!longest)
            break;
    }
    return found;
}

const char *charsmap_longest(const charsmap *m, nx_slice text, size_t *taken)
{
    return lookup(m, text.data, text.len, true, taken);
}

/* Bytes of the first grapheme. */
static size_t grapheme(const char *s, size_t n)
{
    uint32_t cp, next;
    utf8proc_int32_t state = 0;
    size_t at = uni_next(s, n, &cp);
    while (at < n) {
        size_t k = uni_next(s + at, n - at, &next);
        if (utf8proc_grapheme_break_stateful((int32_t)cp, (int32_t)next, &state))
            break;
        at += k;
        cp = next;
    }
    return at;
}

/* The reference's rule: a grapheme of up to five bytes as a whole, if what it begins with is
 * known; else each of its characters. */
static void put_grapheme(const charsmap *m, const char *s, size_t n, nx_str *out)
{
    size_t taken;
    const char *with = n < 6 ? lookup(m, s, n, false, &taken) : NULL;
    if (with) {
        nx_str_puts(out, with);
        return;
    }
    uint32_t cp;
    for (size_t i = 0, k; i < n; i += k) {
        k = uni_next(s + i, n - i, &cp);
        with = lookup(m, s + i, k, false, &taken);
        if (with)
            nx_str_puts(out, with);
        else
            nx_str_add(out, s + i, k);
    }
}

/* A file's replacements may be any bytes, and what comes after this step reads text. */
static void make_valid(nx_str *out, size_t from)
{
    const char *made = nx_str_cstr(out) + from;
    nx_str valid = {0};
    if (nx_utf8_valid(made, out->len - from))
        return;
    nx_utf8_replace(&valid, made, out->len - from);
    nx_str_truncate(out, from);
    nx_str_add(out, valid.data, valid.len);
    nx_str_clear(&valid);
}

void charsmap_apply(const charsmap *m, nx_slice text, nx_str *out)
{
    size_t from = out->len;
    for (size_t i = 0; i < text.len;) {
        size_t n = grapheme(text.data + i, text.len - i);
        put_grapheme(m, text.data + i, n, out);
        i += n;
    }
    make_valid(out, from);
}
