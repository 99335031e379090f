#include "runtime/text/spm_norm.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/text/uniclass.h"

static const char MARK[] = "\xE2\x96\x81"; /* U+2581 */

void spm_norm_free(spm_norm *s)
{
    if (!s)
        return;
    charsmap_clear(&s->map);
    pfx_clear(&s->symbols);
    free(s);
}

/* Bytes of the longest user-defined symbol that the text begins with; 0: none. */
static size_t symbol_at(const spm_norm *s, nx_slice text)
{
    size_t longest = 0;
    pfx_cursor c = pfx_start(&s->symbols);
    for (size_t i = 0; i < text.len && pfx_step(&s->symbols, &c, text.data[i]); i++)
        if (pfx_value(&s->symbols, &c) >= 0)
            longest = i + 1;
    return longest;
}

/* What the text's beginning becomes; *taken: how much of it that is. */
static nx_slice next_part(const spm_norm *s, nx_slice text, size_t *taken)
{
    *taken = s->symbols.items.n ? symbol_at(s, text) : 0;
    if (*taken)
        return (nx_slice){text.data, *taken};
    const char *with = s->map.n_units ? charsmap_longest(&s->map, text, taken) : NULL;
    if (with)
        return nx_slice_of(with);
    uint32_t cp;
    *taken = uni_next(text.data, text.len, &cp);
    return (nx_slice){text.data, *taken};
}

static void skip(nx_slice *text, size_t n)
{
    text->data += n;
    text->len -= n;
}

static void put(const spm_norm *s, nx_slice part, nx_str *out)
{
    for (size_t i = 0; i < part.len; i++)
        if (part.data[i] == ' ' && s->escape_spaces)
            nx_str_add(out, MARK, 3);
        else
            nx_str_putc(out, part.data[i]);
}

void spm_norm_apply(const spm_norm *s, nx_slice text, nx_str *out)
{
    const size_t from = out->len, n = s->escape_spaces ? 3 : 1;
    const char *space = s->escape_spaces ? MARK : " ";
    size_t taken;
    while (s->remove_extra_spaces && text.len) {
        nx_slice part = next_part(s, text, &taken);
        if (part.len != 1 || *part.data != ' ')
            break;
        skip(&text, taken);
    }
    if (!text.len)
        return;
    if (s->dummy_prefix)
        nx_str_add(out, space, n);
    for (bool after_space = s->remove_extra_spaces; text.len; skip(&text, taken)) {
        nx_slice part = next_part(s, text, &taken);
        while (after_space && part.len && *part.data == ' ')
            skip(&part, 1);
        if (part.len)
            after_space = s->remove_extra_spaces && part.data[part.len - 1] == ' ';
        put(s, part, out);
    }
    while (s->remove_extra_spaces && out->len - from >= n && memcmp(out->data + out->len - n, space, n) == 0)
        nx_str_truncate(out, out->len - n);
}
