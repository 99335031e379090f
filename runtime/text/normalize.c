#include "runtime/text/normalize.h"

#include <string.h>
#include <utf8proc.h>

#include "base/error.h"
#include "runtime/text/uniclass.h"

void norm_list_clear(norm_list *l)
{
    for (size_t i = 0; i < l->steps.n; i++) {
        norm_step *s = &l->steps.at[i];
        nx_str_clear(&s->text);
        nx_str_clear(&s->with);
        rx_free(s->regex);
        charsmap_clear(&s->map);
        spm_norm_free(s->spm);
    }
    nx_vec_clear(&l->steps);
}

static size_t next_char(nx_slice in, size_t at, uint32_t *cp)
{
    return uni_next(in.data + at, in.len - at, cp);
}

/* ---- the Unicode forms ---- */

/* Characters that composing never touches and before which a text may be cut: most of what is
 * written. Marks, jamo, singletons and whatever is not listed go through the library. */
static bool is_composed(uint32_t cp)
{
    return cp < 0x300 || (cp >= 0x400 && cp <= 0x482) || (cp >= 0x48A && cp <= 0x52F) ||
           (cp >= 0x2010 && cp <= 0x2070) || (cp >= 0x3041 && cp <= 0x3098) ||
           (cp >= 0x309B && cp <= 0x30FF) || (cp >= 0x3400 && cp <= 0x4DBF) ||
           (cp >= 0x4E00 && cp <= 0x9FFF) || (cp >= 0xAC00 && cp <= 0xD7A3) ||
           (cp >= 0xFF01 && cp <= 0xFF9D) || (cp >= 0x1F300 && cp <= 0x1FAFF);
}

static bool is_fixed(norm_kind form, uint32_t cp)
{
    return form == NORM_NFC ? is_composed(cp) : cp < 0x80;
}

static void put_form(norm_kind form, const char *s, size_t n, nx_str *out)
{
    utf8proc_option_t how = UTF8PROC_STABLE;
    how |= form == NORM_NFC || form == NORM_NFKC ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE;
    how |= form == NORM_NFKC || form == NORM_NFKD ? UTF8PROC_COMPAT : 0;
    utf8proc_uint8_t *done = NULL;
    utf8proc_ssize_t len =
        utf8proc_map((const utf8proc_uint8_t *)s, (utf8proc_ssize_t)n, &done, how);
    if (len < 0) /* the text is valid UTF-8, so memory is what it lacked */
        nx_die_nomem(n);
    nx_str_add(out, done, (size_t)len);
    free(done);
}

/* Ranges of fixed characters are copied; the rest is normalized together with the one fixed
 * character before it, to which marks may belong. */
static void unicode_form(norm_kind form, nx_slice in, nx_str *out)
{
    size_t copied = 0, last = 0;
    for (size_t i = 0; i < in.len;) {
        uint32_t cp;
        size_t k = next_char(in, i, &cp);
        if (is_fixed(form, cp)) {
            last = i;
            i += k;
            continue;
        }
        nx_str_add(out, in.data + copied, last - copied);
        while (i < in.len && !is_fixed(form, cp)) {
            i += k;
            if (i < in.len)
                k = next_char(in, i, &cp);
        }
        put_form(form, in.data + last, i - last, out);
        copied = last = i;
    }
    nx_str_add(out, in.data + copied, in.len - copied);
}

/* ---- character by character ---- */

static void put_lower(uint32_t cp, nx_str *out)
{
    if (cp == 0x130) { /* the one character whose lower case is two */
        nx_str_put_utf8(out, 'i');
        nx_str_put_utf8(out, 0x307);
    } else {
        nx_str_put_utf8(out, (unsigned)utf8proc_tolower((utf8proc_int32_t)cp));
    }
}

static void put_clean(uint32_t cp, nx_str *out)
{
    if (cp == 0 || cp == 0xFFFD || uni_is_control(cp))
        return;
    nx_str_put_utf8(out, uni_is_space(cp) ? ' ' : cp);
}

static void put_nmt(uint32_t cp, nx_str *out)
{
    if ((cp >= 1 && cp <= 8) || cp == 0xB || (cp >= 0xE && cp <= 0x1F) || cp == 0x7F ||
        cp == 0x8F || cp == 0x9F)
        return;
    bool space = cp == 9 || cp == 0xA || cp == 0xC || cp == 0xD || cp == 0x1680 ||
                 (cp >= 0x200B && cp <= 0x200F) || cp == 0x2028 || cp == 0x2029 || cp == 0x2581 ||
                 cp == 0xFEFF || cp == 0xFFFD;
    nx_str_put_utf8(out, space ? ' ' : cp);
}

static void put_cjk(uint32_t cp, nx_str *out)
{
    bool cjk = uni_is_cjk(cp);
    if (cjk)
        nx_str_putc(out, ' ');
    nx_str_put_utf8(out, cp);
    if (cjk)
        nx_str_putc(out, ' ');
}

static void put_char(norm_kind kind, uint32_t cp, nx_str *out)
{
    switch (kind) {
    case NORM_LOWERCASE:
        put_lower(cp, out);
        break;
    case NORM_CLEAN:
        put_clean(cp, out);
        break;
    case NORM_NMT:
        put_nmt(cp, out);
        break;
    case NORM_CJK_SPACES:
        put_cjk(cp, out);
        break;
    case NORM_STRIP_MARKS:
        if (!uni_is_mark(cp))
            nx_str_put_utf8(out, cp);
        break;
    default: /* NORM_STRIP_ACCENTS, on the decomposed text */
        if (!uni_is_nonspacing(cp))
            nx_str_put_utf8(out, cp);
        break;
    }
}

/* In all of these, *cut is set when the beginning of the text is dropped. */
static void each_char(norm_kind kind, nx_slice in, nx_str *out, bool *cut)
{
    for (size_t i = 0, k; i < in.len; i += k) {
        uint32_t cp;
        size_t was = out->len;
        k = next_char(in, i, &cp);
        put_char(kind, cp, out);
        *cut = *cut || (i == 0 && out->len == was);
    }
}

static void strip_accents(nx_slice in, nx_str *out, bool *cut)
{
    nx_str apart = {0};
    unicode_form(NORM_NFD, in, &apart);
    each_char(NORM_STRIP_ACCENTS, (nx_slice){apart.data, apart.len}, out, cut);
    nx_str_clear(&apart);
}

/* ---- the others ---- */

static void strip(const norm_step *s, nx_slice in, nx_str *out, bool *cut)
{
    size_t begin = 0, end = in.len;
    uint32_t cp;
    while (s->left && begin < end) {
        size_t k = next_char(in, begin, &cp);
        if (!uni_is_space(cp))
            break;
        begin += k;
    }
    while (s->right && end > begin) {
        size_t at = end - 1;
        while (at > begin && ((unsigned char)in.data[at] & 0xC0) == 0x80)
            at--;
        next_char(in, at, &cp);
        if (!uni_is_space(cp))
            break;
        end = at;
    }
    *cut = *cut || begin > 0;
    nx_str_add(out, in.data + begin, end - begin);
}

static bool replace(const norm_step *s, rx_state *rx, nx_slice in, nx_str *out, bool *cut)
{
    size_t done = 0, from = 0;
    while (from <= in.len) {
        size_t b, e;
        if (s->regex) {
            int found = rx_find(rx, s->regex, in.data, in.len, from, &b, &e);
            if (found < 0)
                return false;
            if (!found)
                break;
        } else {
            const char *at = memmem(in.data + from, in.len - from, s->text.data, s->text.len);
            if (!at)
                break;
            b = (size_t)(at - in.data);
            e = b + s->text.len;
        }
        *cut = *cut || (b == 0 && e > 0 && !s->with.len);
        nx_str_add(out, in.data + done, b - done);
        nx_str_add(out, s->with.data, s->with.len);
        done = from = e;
        uint32_t cp;
        if (b == e)
            from = e < in.len ? e + next_char(in, e, &cp) : e + 1;
    }
    nx_str_add(out, in.data + done, in.len - done);
    return true;
}

static bool step(const norm_step *s, rx_state *rx, nx_slice in, nx_str *out, bool *cut)
{
    switch (s->kind) {
    case NORM_NFC:
    case NORM_NFD:
    case NORM_NFKC:
    case NORM_NFKD:
        unicode_form(s->kind, in, out);
        return true;
    case NORM_STRIP:
        strip(s, in, out, cut);
        return true;
    case NORM_STRIP_ACCENTS:
        strip_accents(in, out, cut);
        return true;
    case NORM_REPLACE:
        return replace(s, rx, in, out, cut);
    case NORM_PREPEND:
        nx_str_add(out, s->with.data, s->with.len);
        nx_str_add(out, in.data, in.len);
        return true;
    case NORM_BYTES:
        uni_put_byte_chars(out, in.data, in.len);
        return true;
    case NORM_CHARSMAP:
        charsmap_apply(&s->map, in, out);
        return true;
    case NORM_SENTENCEPIECE:
        spm_norm_apply(s->spm, in, out);
        return true;
    default:
        each_char(s->kind, in, out, cut);
        return true;
    }
}

bool norm_run(const norm_list *l, rx_state *rx, nx_slice text, nx_str buffers[2], nx_slice *out,
              bool *cut)
{
    *cut = false;
    for (size_t i = 0; i < l->steps.n && text.len; i++) {
        nx_str *to = &buffers[i % 2];
        to->len = 0;
        nx_str_reserve(to, text.len + 16);
        if (!step(&l->steps.at[i], rx, text, to, cut))
            return false;
        text = (nx_slice){nx_str_cstr(to), to->len};
    }
    *out = text;
    return true;
}
