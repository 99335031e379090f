#include "runtime/text/tok_decode.h"

#include <string.h>

#include "base/error.h"
#include "base/utf8.h"
#include "runtime/text/uniclass.h"

static bool refuse(const char *what)
{
    return nx_fail("[tokenizer] the decoder %s is not supported", what);
}

static bool note(tok_decoder *d, const dec_step *s)
{
    switch (s->kind) {
    case DEC_BYTES:
        d->bytes = d->fused = true;
        return true;
    case DEC_BYTE_FALLBACK:
        d->bytes = d->byte_fallback = true;
        return true;
    case DEC_FUSE:
        d->fused = true;
        return true;
    case DEC_STRIP:
        if (!d->fused)
            return true;
        if (d->strip_count || s->text.len != 1)
            return refuse("Strip (twice, or of something longer than a byte) behind Fuse");
        d->strip = s->text.data[0];
        d->strip_count = s->count;
        return true;
    case DEC_METASPACE:
        d->first_differs |= s->left;
        return true;
    case DEC_WORDPIECE:
    case DEC_JOIN_SPACES:
        d->first_differs = true;
        return true;
    case DEC_BPE:
        d->end_space = true;
        return true;
    default:
        return true;
    }
}

bool tok_decoder_add(tok_decoder *d, dec_step step)
{
    bool was_fused = d->fused;
    bool ok = note(d, &step);
    if (ok && was_fused && step.kind != DEC_STRIP && step.kind != DEC_FUSE)
        ok = refuse("that works on a fused text (other than Strip)");
    if (ok && d->end_space && step.kind != DEC_BPE)
        ok = refuse("BPEDecoder followed by others");
    nx_vec_push(&d->steps, step); /* also on failure, so that it is freed */
    return ok;
}

void tok_decoder_clear(tok_decoder *d)
{
    for (size_t i = 0; i < d->steps.n; i++) {
        nx_str_clear(&d->steps.at[i].text);
        nx_str_clear(&d->steps.at[i].with);
    }
    nx_vec_clear(&d->steps);
}

static bool starts_with(nx_slice s, const nx_str *with)
{
    return with->len && s.len >= with->len && memcmp(s.data, with->data, with->len) == 0;
}

static bool ends_with(nx_slice s, const nx_str *with)
{
    return with->len && s.len >= with->len &&
           memcmp(s.data + s.len - with->len, with->data, with->len) == 0;
}

/* Printable ASCII stands for itself in the byte alphabet, and is most of what tokens hold. */
static size_t plain_run(const char *s, size_t n)
{
    size_t i = 0;
    while (i < n && s[i] > ' ' && s[i] < 0x7F)
        i++;
    return i;
}

static void put_bytes(nx_slice in, nx_str *out)
{
    size_t from = out->len;
    for (size_t i = 0; i < in.len;) {
        size_t plain = plain_run(in.data + i, in.len - i);
        if (plain) {
            nx_str_add(out, in.data + i, plain);
            i += plain;
            continue;
        }
        uint32_t cp;
        int k = nx_utf8_decode(in.data + i, in.len - i, &cp);
        int byte = k < 0 ? -1 : uni_char_byte(cp);
        if (byte < 0) { /* not of this alphabet: the token is plain text */
            nx_str_truncate(out, from);
            nx_str_add(out, in.data, in.len);
            return;
        }
        nx_str_putc(out, (char)byte);
        i += (size_t)k;
    }
}

static void put_replaced(nx_slice in, nx_slice what, nx_slice with, nx_str *out)
{
    while (in.len) {
        const char *at = what.len ? memmem(in.data, in.len, what.data, what.len) : NULL;
        size_t n = at ? (size_t)(at - in.data) : in.len;
        nx_str_add(out, in.data, n);
        if (!at)
            return;
        nx_str_add(out, with.data, with.len);
        in.data += n + what.len;
        in.len -= n + what.len;
    }
}

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 32;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static void put_fallback(nx_slice in, nx_str *out)
{
    if (in.len == 6 && memcmp(in.data, "<0x", 3) == 0 && in.data[5] == '>' &&
        hex(in.data[3]) >= 0 && hex(in.data[4]) >= 0)
        nx_str_putc(out, (char)(hex(in.data[3]) << 4 | hex(in.data[4])));
    else
        nx_str_add(out, in.data, in.len);
}

/* English as BERT's tokens spell it, closed up again: in this order, on each token by itself. */
static void put_cleaned(nx_slice in, nx_str *out)
{
    static const char *const pairs[][2] = {
        {" .", "."},   {" ?", "?"},     {" !", "!"},     {" ,", ","},
        {" ' ", "'"},  {" n't", "n't"}, {" 'm", "'m"},   {" do not", " don't"},
        {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"},
    };
    nx_str a = {0}, b = {0};
    nx_str_add(&a, in.data, in.len);
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        b.len = 0;
        put_replaced((nx_slice){a.data, a.len}, nx_slice_of(pairs[i][0]), nx_slice_of(pairs[i][1]),
                     &b);
        nx_str t = a;
        a = b;
        b = t;
    }
    nx_str_add(out, a.data, a.len);
    nx_str_clear(&a);
    nx_str_clear(&b);
}

static void put_wordpiece(const dec_step *s, nx_slice in, bool first, nx_str *out)
{
    nx_str word = {0};
    bool goes_on = starts_with(in, &s->text);
    if (!first && goes_on) {
        in.data += s->text.len;
        in.len -= s->text.len;
    } else if (!first) {
        nx_str_putc(&word, ' ');
    }
    nx_str_add(&word, in.data, in.len);
    if (s->left)
        put_cleaned((nx_slice){word.data, word.len}, out);
    else
        nx_str_add(out, word.data, word.len);
    nx_str_clear(&word);
}

static void run_step(const dec_step *s, nx_slice in, bool first, nx_str *out)
{
    nx_slice text = {s->text.data, s->text.len};
    switch (s->kind) {
    case DEC_BYTES:
        put_bytes(in, out);
        return;
    case DEC_REPLACE:
        put_replaced(in, text, (nx_slice){s->with.data, s->with.len}, out);
        return;
    case DEC_BYTE_FALLBACK:
        put_fallback(in, out);
        return;
    case DEC_METASPACE:
        put_replaced(in, text, nx_slice_of(first && s->left ? "" : " "), out);
        return;
    case DEC_WORDPIECE:
        put_wordpiece(s, in, first, out);
        return;
    case DEC_JOIN_SPACES:
        if (!first)
            nx_str_putc(out, ' ');
        break;
    case DEC_BPE:
        put_replaced(in, text, nx_slice_of(" "), out);
        return;
    case DEC_STRIP:
        for (size_t i = 0; i < s->count && starts_with(in, &s->text); i++) {
            in.data += s->text.len;
            in.len -= s->text.len;
        }
        break;
    case DEC_STRIP_END:
        for (size_t i = 0; i < s->count && ends_with(in, &s->text); i++)
            in.len -= s->text.len;
        break;
    case DEC_FUSE:
        break;
    }
    nx_str_add(out, in.data, in.len);
}

nx_slice tok_decoder_piece(const tok_decoder *d, nx_slice token, bool first, nx_str work[2])
{
    bool fused = false;
    int next = 0;
    for (size_t i = 0; i < d->steps.n; i++) {
        const dec_step *s = &d->steps.at[i];
        fused = fused || s->kind == DEC_FUSE || s->kind == DEC_BYTES;
        if (s->kind == DEC_FUSE || (s->kind == DEC_STRIP && fused))
            continue; /* the fused text's beginning is the detokenizer's */
        nx_str *out = &work[next];
        next = !next;
        out->len = 0;
        run_step(s, token, first, out);
        token = (nx_slice){nx_str_cstr(out), out->len};
    }
    return token;
}
