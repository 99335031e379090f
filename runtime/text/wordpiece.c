#include "runtime/text/wordpiece.h"

void wordpiece_finish(wordpiece *m, const nx_map *vocab)
{
    for (size_t i = 0; i < vocab->n; i++)
        pfx_add(&m->pieces, vocab->entries[i].key, vocab->entries[i].key_len,
                (int32_t)vocab->entries[i].value);
    pfx_finish(&m->pieces);
}

void wordpiece_clear(wordpiece *m)
{
    pfx_clear(&m->pieces);
    nx_str_clear(&m->first_prefix);
    nx_str_clear(&m->next_prefix);
}

/* The longest token that is prefix and then a beginning of s: its id, and the bytes of s. */
static int32_t longest(const wordpiece *m, const nx_str *prefix, const char *s, size_t n,
                       size_t *len)
{
    pfx_cursor c = pfx_start(&m->pieces);
    for (size_t i = 0; i < prefix->len; i++)
        if (!pfx_step(&m->pieces, &c, prefix->data[i]))
            return -1;
    int32_t found = -1;
    for (size_t i = 0; i < n && pfx_step(&m->pieces, &c, s[i]); i++) {
        int32_t id = pfx_value(&m->pieces, &c);
        if (id < 0)
            continue;
        found = id;
        *len = i + 1;
    }
    return found;
}

static size_t count_chars(const char *s, size_t n)
{
    size_t chars = 0;
    for (size_t i = 0; i < n; i++)
        chars += ((unsigned char)s[i] & 0xC0) != 0x80;
    return chars;
}

static void put_unknown(const wordpiece *m, tok_ids *out)
{
    if (m->unk >= 0)
        nx_vec_push(out, m->unk);
}

void wordpiece_encode(const wordpiece *m, const char *s, size_t n, tok_ids *out)
{
    if (count_chars(s, n) > m->max_chars) {
        put_unknown(m, out);
        return;
    }
    size_t from = out->n;
    for (size_t i = 0, k = 0; i < n; i += k) {
        int32_t id = longest(m, i ? &m->next_prefix : &m->first_prefix, s + i, n - i, &k);
        if (id < 0) {
            out->n = from;
            put_unknown(m, out);
            return;
        }
        nx_vec_push(out, id);
    }
}
