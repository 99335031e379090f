#include "base/utf8.h"

#include <string.h>

/* The well-formed sequences of Unicode's table 3-7: by lead byte, the length and the range of the
 * second byte; later bytes are always 80..BF. Length 0: no sequence begins so. */
typedef struct {
    int len;
    unsigned char lo, hi;
} lead_rule;

static lead_rule lead_of(unsigned char c)
{
    if (c < 0x80)
        return (lead_rule){1, 0, 0};
    if (c < 0xC2 || c > 0xF4)
        return (lead_rule){0, 0, 0};
    if (c < 0xE0)
        return (lead_rule){2, 0x80, 0xBF};
    if (c < 0xF0) /* no overlong forms, no surrogates */
        return (lead_rule){3, c == 0xE0 ? 0xA0 : 0x80, c == 0xED ? 0x9F : 0xBF};
    return (lead_rule){4, c == 0xF0 ? 0x90 : 0x80, c == 0xF4 ? 0x8F : 0xBF};
}

/* How many of the bytes fit the rule of the first, 1 to its length. */
static int match(const unsigned char *p, size_t n, lead_rule r)
{
    int k = 1;
    while (k < r.len && (size_t)k < n) {
        unsigned char lo = k == 1 ? r.lo : 0x80, hi = k == 1 ? r.hi : 0xBF;
        if (p[k] < lo || p[k] > hi)
            break;
        k++;
    }
    return k;
}

int nx_utf8_decode(const char *s, size_t n, uint32_t *cp)
{
    const unsigned char *p = (const unsigned char *)s;
    lead_rule r = lead_of(p[0]);
    int k = match(p, n, r);
    if (k != r.len) {
        *cp = 0xFFFD;
        return -k;
    }
    if (k == 1) {
        *cp = p[0];
        return 1;
    }
    uint32_t v = p[0] & (0xFFu >> (k + 1));
    for (int i = 1; i < k; i++)
        v = v << 6 | (p[i] & 0x3F);
    *cp = v;
    return k;
}

/* Most text is ASCII: eight bytes a step while it is. */
static size_t ascii_run(const char *s, size_t n)
{
    size_t i = 0;
    while (n - i >= 8) {
        uint64_t w;
        memcpy(&w, s + i, 8);
        if (w & 0x8080808080808080u)
            break;
        i += 8;
    }
    while (i < n && (unsigned char)s[i] < 0x80)
        i++;
    return i;
}

size_t nx_utf8_valid_prefix(const char *s, size_t n)
{
    size_t i = 0;
    while ((i += ascii_run(s + i, n - i)) < n) {
        uint32_t cp;
        int k = nx_utf8_decode(s + i, n - i, &cp);
        if (k < 0)
            return i;
        i += (size_t)k;
    }
    return n;
}

bool nx_utf8_valid(const char *s, size_t n)
{
    return nx_utf8_valid_prefix(s, n) == n;
}

size_t nx_utf8_replace(nx_str *out, const char *s, size_t n)
{
    size_t replaced = 0;
    while (n) {
        size_t good = nx_utf8_valid_prefix(s, n);
        nx_str_add(out, s, good);
        s += good;
        n -= good;
        if (n) {
            uint32_t cp;
            size_t bad = (size_t)-nx_utf8_decode(s, n, &cp);
            nx_str_put_utf8(out, 0xFFFD);
            replaced++;
            s += bad;
            n -= bad;
        }
    }
    return replaced;
}

size_t nx_utf8_incomplete_tail(const char *s, size_t n)
{
    const unsigned char *p = (const unsigned char *)s;
    for (size_t k = 1; k <= 3 && k <= n; k++) {
        lead_rule r = lead_of(p[n - k]);
        if (r.len == 1)
            return 0;
        if (r.len > (int)k && match(p + n - k, k, r) == (int)k)
            return k;
        if (r.len > 1)
            return 0;
    }
    return 0;
}
