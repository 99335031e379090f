#include "runtime/text/detok.h"

#include <string.h>

#include "base/error.h"
#include "base/utf8.h"
#include "runtime/text/tok_impl.h"
#include "runtime/text/uniclass.h"

static void restart(detok *d)
{
    d->started = d->end_space = false;
    d->to_strip = d->t->decoder.strip_count;
    d->n_held = 0;
}

void detok_init(detok *d, const tokenizer *t, bool with_special)
{
    *d = (detok){.t = t, .with_special = with_special};
    restart(d);
}

void detok_clear(detok *d)
{
    nx_str_clear(&d->work[0]);
    nx_str_clear(&d->work[1]);
}

static void put_invalid(const detok *d, size_t bytes, nx_str *out)
{
    /* Byte tokens are characters of their own where they form none together. */
    size_t n = d->t->decoder.byte_fallback ? bytes : 1;
    while (n--)
        nx_str_put_utf8(out, 0xFFFD);
}

/* Appends the characters of s; holds back an unfinished one at the end. */
static void put_chars(detok *d, const char *s, size_t n, nx_str *out)
{
    size_t tail = nx_utf8_incomplete_tail(s, n);
    size_t whole = n - tail;
    for (size_t i = 0; i < whole;) {
        size_t ok = nx_utf8_valid_prefix(s + i, whole - i);
        nx_str_add(out, s + i, ok);
        i += ok;
        if (i == whole)
            break;
        uint32_t cp;
        size_t bad = uni_next(s + i, whole - i, &cp);
        put_invalid(d, bad, out);
        i += bad;
    }
    memmove(d->held, s + whole, tail);
    d->n_held = tail;
}

static void put_bytes(detok *d, const char *s, size_t n, nx_str *out)
{
    if (!d->n_held) {
        put_chars(d, s, n, out);
        return;
    }
    nx_str all = {0};
    nx_str_add(&all, d->held, d->n_held);
    nx_str_add(&all, s, n);
    put_chars(d, all.data, all.len, out);
    nx_str_clear(&all);
}

static nx_slice piece_of(detok *d, int32_t id)
{
    const tokenizer *t = d->t;
    if (d->started || !t->decoder.first_differs)
        return tok_piece(t, id);
    return tok_decoder_piece(&t->decoder, tok_token(t, id), true, d->work);
}

bool detok_push(detok *d, int32_t id, nx_str *out)
{
    const tokenizer *t = d->t;
    if (!tok_token(t, id).data)
        return nx_fail("[tokenizer] no token has the id %d", (int)id);
    if (!d->with_special && tok_is_special(t, id))
        return true;
    nx_slice p = piece_of(d, id);
    d->started = true;
    while (d->to_strip && p.len) {
        if (*p.data != t->decoder.strip) {
            d->to_strip = 0;
            break;
        }
        p.data++;
        p.len--;
        d->to_strip--;
    }
    if (t->decoder.end_space) {
        if (d->end_space)
            nx_str_putc(out, ' ');
        d->end_space = p.len && p.data[p.len - 1] == ' ';
        p.len -= d->end_space;
    }
    put_bytes(d, p.data, p.len, out);
    return true;
}

void detok_flush(detok *d, nx_str *out)
{
    if (d->n_held)
        put_invalid(d, d->n_held, out);
    restart(d);
}
