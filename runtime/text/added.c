#include "runtime/text/added.h"

#include "base/utf8.h"
#include "runtime/text/uniclass.h"

void added_finder_add(added_finder *f, size_t index, const char *text, size_t len)
{
    pfx_add(&f->table, text, len, (int32_t)index);
}

void added_finder_finish(added_finder *f)
{
    pfx_finish(&f->table);
}

void added_finder_clear(added_finder *f)
{
    pfx_clear(&f->table);
}

/* The code point that ends before text[at]. */
static uint32_t before(const char *text, size_t at, size_t *begin)
{
    size_t b = at - 1;
    while (b > 0 && ((unsigned char)text[b] & 0xC0) == 0x80)
        b--;
    uint32_t cp;
    nx_utf8_decode(text + b, at - b, &cp);
    *begin = b;
    return cp;
}

static bool touches_word(const char *text, size_t n, size_t begin, size_t end)
{
    size_t b;
    uint32_t cp;
    if (begin > 0 && uni_is_word(before(text, begin, &b)))
        return true;
    return end < n && nx_utf8_decode(text + end, n - end, &cp) > 0 && uni_is_word(cp);
}

static size_t space_before(const char *text, size_t at)
{
    size_t b;
    while (at > 0 && uni_is_space(before(text, at, &b)))
        at = b;
    return at;
}

static size_t space_after(const char *text, size_t n, size_t at)
{
    uint32_t cp;
    while (at < n) {
        int k = nx_utf8_decode(text + at, n - at, &cp);
        if (k <= 0 || !uni_is_space(cp))
            break;
        at += (size_t)k;
    }
    return at;
}

/* The longest token that begins at text: its index, and its length in bytes. */
static int32_t longest(const pfx_table *p, const char *text, size_t n, size_t *len)
{
    int32_t found = -1;
    pfx_cursor c = pfx_start(p);
    for (size_t i = 0; i < n && pfx_step(p, &c, text[i]); i++) {
        int32_t v = pfx_value(p, &c);
        if (v >= 0) {
            found = v;
            *len = i + 1;
        }
    }
    return found;
}

bool added_next(const added_finder *f, const char *text, size_t n, size_t from, size_t *scan,
                bool with_special, added_match *out)
{
    const pfx_table *p = &f->table;
    if (!p->items.n)
        return false;
    for (size_t i = *scan; i < n;) {
        unsigned b = (unsigned char)text[i];
        size_t len = 0;
        int32_t index = p->first[b] < p->first[b + 1] ? longest(p, text + i, n - i, &len) : -1;
        if (index < 0) {
            i++;
            continue;
        }
        size_t begin = i, end = i + len;
        i = end; /* a refused match is passed over as a whole, as the reference does */
        const added_token *a = &f->list->at[index];
        if ((a->special && !with_special) || (a->single_word && touches_word(text, n, begin, end)))
            continue;
        *scan = end;
        if (a->lstrip) {
            size_t s = space_before(text, begin);
            begin = s > from ? s : from;
        }
        if (a->rstrip)
            end = space_after(text, n, end);
        *out = (added_match){begin, end, a->id};
        return true;
    }
    return false;
}
