#include "runtime/text/bpe.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "runtime/text/bpe_cache.h"
#include "runtime/text/uniclass.h"

enum {
    SHORT_WORD = 40, /* symbols up to which scanning all pairs beats the queue */
    MERGES_AT_ONCE = 64,
    KEPT_SYMBOLS = 1 << 14, /* room that is kept between texts */
};

static const uint32_t NO_RANK = UINT32_MAX;

typedef struct {
    int32_t id;          /* -1: a character outside the vocabulary (score_rank only) */
    uint32_t begin, len; /* bytes of the piece */
    int32_t prev, next;  /* neighbours, -1 at the ends (in the queue's way only) */
} symbol;

typedef struct {
    uint32_t rank;
    int32_t id;
} merge_result;

/* A pair waiting to be merged. Stale when its two symbols have changed since. */
typedef struct {
    uint32_t rank;
    int32_t left, right; /* symbols */
    uint32_t bytes;      /* of both together, when this was queued */
    int32_t id;          /* of the result */
} candidate;

struct bpe_work {
    NX_VEC(symbol) symbols;
    NX_VEC(candidate) heap;
    nx_str text;
    bpe_cache cache;
};

/* ---- the table of merges ---- */

static size_t slot_of(const bpe *b, uint64_t pair)
{
    /* The table's address differs from run to run: no file can make all its merges collide. */
    uint64_t h = (pair ^ (uintptr_t)b->merges) * 0x9E3779B97F4A7C15u;
    h = (h ^ h >> 32) * 0xD6E8FEB86659FD93u;
    return (size_t)(h >> 32 & (b->n_slots - 1));
}

void bpe_reserve(bpe *b, size_t merges)
{
    NX_BUG_IF(b->merges != NULL || merges >= UINT32_MAX / 2);
    b->n_slots = 16;
    while (b->n_slots < merges + merges / 2)
        b->n_slots *= 2;
    b->merges = nx_malloc(b->n_slots * sizeof *b->merges);
    for (size_t i = 0; i < b->n_slots; i++)
        b->merges[i].pair = UINT64_MAX;
}

static void add_merge(bpe *b, uint64_t pair, uint32_t rank, int32_t id)
{
    size_t s = slot_of(b, pair);
    while (b->merges[s].pair != UINT64_MAX && b->merges[s].pair != pair)
        s = (s + 1) & (b->n_slots - 1);
    if (b->merges[s].pair != pair)
        b->n_merges++;
    NX_BUG_IF(b->n_merges >= b->n_slots);
    b->merges[s] = (bpe_merge){pair, rank, id};
}

/* texts: left, right and joined text of each merge; joined: room for the last. */
static void merge_texts(const bpe *b, const bpe_pair *pairs, size_t n, nx_slice *texts,
                        nx_str *joined)
{
    size_t bytes = 0;
    for (size_t i = 0; i < n; i++)
        bytes += pairs[i].left.len + pairs[i].right.len;
    nx_str_reserve(joined, bytes + 1); /* it must not move */
    joined->len = 0;
    for (size_t i = 0; i < n; i++, texts += 3) {
        nx_slice left = pairs[i].left, right = pairs[i].right;
        size_t prefix = b->prefix.len < right.len ? b->prefix.len : right.len, from = joined->len;
        nx_str_add(joined, left.data, left.len);
        nx_str_add(joined, right.data + prefix, right.len - prefix);
        texts[0] = left;
        texts[1] = right;
        texts[2] = (nx_slice){joined->data + from, joined->len - from};
    }
}

bool bpe_bad_merge(nx_slice merge, size_t rank, const char *what)
{
    return nx_fail("[tokenizer] merge %zu (\"%.*s\") %s", rank,
                   (int)(merge.len < 100 ? merge.len : 100), merge.data, what);
}

static bool find_in_others(const nx_map *others, const nx_slice *texts, nx_map_entry **found)
{
    for (int i = 0; i < 3; i++)
        if (!found[i] &&
            (!others || !(found[i] = nx_map_find(others, texts[i].data, texts[i].len))))
            return false;
    return true;
}

size_t bpe_add_merges(bpe *b, const nx_map *others, const bpe_pair *pairs, size_t n, size_t rank)
{
    nx_slice texts[3 * MERGES_AT_ONCE];
    nx_map_entry *found[3 * MERGES_AT_ONCE];
    nx_str joined = {0};
    size_t done = 0;
    for (bool ok = true; ok && done < n;) {
        size_t some = n - done < MERGES_AT_ONCE ? n - done : MERGES_AT_ONCE;
        merge_texts(b, pairs + done, some, texts, &joined);
        nx_map_find_many(b->vocab, texts, 3 * some, found);
        for (size_t i = 0; i < some && ok; i++) {
            nx_map_entry **f = &found[3 * i];
            ok = find_in_others(others, &texts[3 * i], f);
            if (ok)
                add_merge(b, f[0]->value << 32 | f[1]->value, (uint32_t)(rank + done++),
                          (int32_t)f[2]->value);
        }
    }
    nx_str_clear(&joined);
    return done;
}

static inline merge_result merge_of_ids(const bpe *b, int32_t left, int32_t right)
{
    uint64_t pair = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    size_t s = slot_of(b, pair);
    while (b->merges[s].pair != UINT64_MAX) {
        if (b->merges[s].pair == pair)
            return (merge_result){b->merges[s].rank, b->merges[s].id};
        s = (s + 1) & (b->n_slots - 1);
    }
    return (merge_result){NO_RANK, -1};
}

/* a and c are neighbours, so their text is one range of the piece. */
static inline merge_result merge_of(const bpe *b, const char *s, const symbol *a, const symbol *c)
{
    if (!b->score_rank)
        return merge_of_ids(b, a->id, c->id);
    size_t len = (size_t)a->len + c->len;
    if (len > b->max_len)
        return (merge_result){NO_RANK, -1};
    int64_t id = (int64_t)nx_map_get(b->vocab, s + a->begin, len, UINT64_MAX);
    return id < 0 ? (merge_result){NO_RANK, -1} : (merge_result){b->score_rank[id], (int32_t)id};
}

/* ---- merging, short pieces: look at every pair, take the best ---- */

static size_t merge_short(const bpe *b, const char *s, symbol *sym, size_t n)
{
    merge_result pair[SHORT_WORD];
    for (size_t i = 0; i + 1 < n; i++)
        pair[i] = merge_of(b, s, &sym[i], &sym[i + 1]);
    while (n > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < n; i++)
            if (pair[i].rank < pair[best].rank)
                best = i;
        if (pair[best].rank == NO_RANK)
            break;
        sym[best].id = pair[best].id;
        sym[best].len += sym[best + 1].len;
        n--;
        memmove(&sym[best + 1], &sym[best + 2], (n - best - 1) * sizeof *sym);
        memmove(&pair[best], &pair[best + 1], (n - best - 1) * sizeof *pair);
        if (best > 0)
            pair[best - 1] = merge_of(b, s, &sym[best - 1], &sym[best]);
        if (best + 1 < n)
            pair[best] = merge_of(b, s, &sym[best], &sym[best + 1]);
    }
    return n;
}

/* ---- merging, long pieces: a queue of pairs, best first, then leftmost ---- */

static bool better(const candidate *a, const candidate *b)
{
    return a->rank != b->rank ? a->rank < b->rank : a->left < b->left;
}

static void heap_push(bpe_work *w, candidate c)
{
    nx_vec_push(&w->heap, c);
    candidate *h = w->heap.at;
    size_t i = w->heap.n - 1;
    while (i > 0 && better(&c, &h[(i - 1) / 2])) {
        h[i] = h[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    h[i] = c;
}

static candidate heap_pop(bpe_work *w)
{
    candidate *h = w->heap.at;
    candidate top = h[0], last = nx_vec_pop(&w->heap);
    size_t n = w->heap.n, i = 0;
    for (size_t kid = 1; kid < n; kid = 2 * i + 1) {
        if (kid + 1 < n && better(&h[kid + 1], &h[kid]))
            kid++;
        if (!better(&h[kid], &last))
            break;
        h[i] = h[kid];
        i = kid;
    }
    if (n)
        h[i] = last;
    return top;
}

static void queue_pair(const bpe *b, bpe_work *w, const char *s, int32_t left, int32_t right)
{
    if (left < 0 || right < 0)
        return;
    const symbol *a = &w->symbols.at[left], *c = &w->symbols.at[right];
    merge_result m = merge_of(b, s, a, c);
    if (m.rank != NO_RANK)
        heap_push(w, (candidate){m.rank, left, right, a->len + c->len, m.id});
}

static size_t merge_long(const bpe *b, bpe_work *w, const char *s)
{
    symbol *sym = w->symbols.at;
    int32_t n = (int32_t)w->symbols.n;
    w->heap.n = 0;
    for (int32_t i = 0; i < n; i++) {
        sym[i].prev = i - 1;
        sym[i].next = i + 1 < n ? i + 1 : -1;
    }
    for (int32_t i = 0; i + 1 < n; i++)
        queue_pair(b, w, s, i, i + 1);
    while (w->heap.n) {
        candidate c = heap_pop(w);
        symbol *l = &sym[c.left], *r = &sym[c.right];
        /* a symbol merged into its left neighbour has length 0 */
        if (!l->len || !r->len || l->next != c.right || l->len + r->len != c.bytes)
            continue;
        l->id = c.id;
        l->len += r->len;
        l->next = r->next;
        r->len = 0;
        if (l->next >= 0)
            sym[l->next].prev = c.left;
        queue_pair(b, w, s, l->prev, c.left);
        queue_pair(b, w, s, c.left, l->next);
    }
    size_t kept = 0;
    for (int32_t i = 0; i < n; i++)
        if (sym[i].len)
            sym[kept++] = sym[i];
    return kept;
}

/* ---- the first symbols of a piece ---- */

typedef struct {
    bool any;
    uint32_t begin, len;
} unknown_run;

static void push_symbol(bpe_work *w, int32_t id, size_t begin, size_t len)
{
    nx_vec_push(&w->symbols, (symbol){id, (uint32_t)begin, (uint32_t)len, -1, -1});
}

static void flush_unknown(const bpe *b, bpe_work *w, unknown_run *u)
{
    if (u->any)
        push_symbol(w, b->unk, u->begin, u->len);
    u->any = false;
}

static bool push_bytes(const bpe *b, bpe_work *w, const char *s, size_t begin, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (b->byte_ids[(unsigned char)s[begin + i]] < 0)
            return false;
    for (size_t i = 0; i < len; i++)
        push_symbol(w, b->byte_ids[(unsigned char)s[begin + i]], begin + i, 1);
    return true;
}

static void push_unknown(const bpe *b, bpe_work *w, const char *s, size_t begin, size_t len,
                         unknown_run *u)
{
    if (b->byte_fallback && push_bytes(b, w, s, begin, len))
        return;
    if (b->unk < 0)
        return;
    if (u->any && b->fuse_unk) {
        u->len += (uint32_t)len;
        return;
    }
    flush_unknown(b, w, u);
    *u = (unknown_run){true, (uint32_t)begin, (uint32_t)len};
}

static int32_t char_id(const bpe *b, bpe_work *w, const char *s, size_t len, bool first, bool last)
{
    bool bare = (first || !b->prefix.len) && (!last || !b->suffix.len);
    if (bare && len == 1 && !((unsigned char)*s & 0x80))
        return b->ascii_ids[(unsigned char)*s];
    if (bare)
        return (int32_t)nx_map_get(b->vocab, s, len, UINT64_MAX);
    w->text.len = 0;
    if (!first)
        nx_str_add(&w->text, b->prefix.data, b->prefix.len);
    nx_str_add(&w->text, s, len);
    if (last)
        nx_str_add(&w->text, b->suffix.data, b->suffix.len);
    return (int32_t)nx_map_get(b->vocab, w->text.data, w->text.len, UINT64_MAX);
}

static void symbols_of_chars(const bpe *b, bpe_work *w, const char *s, size_t n)
{
    unknown_run u = {0};
    for (size_t i = 0, k; i < n; i += k) {
        uint32_t cp;
        k = uni_next(s + i, n - i, &cp);
        int32_t id = char_id(b, w, s + i, k, i == 0, i + k == n);
        if (id < 0 && b->score_rank) {
            push_symbol(w, -1, i, k); /* it may yet be merged into a token */
        } else if (id < 0) {
            push_unknown(b, w, s, i, k, &u);
        } else {
            flush_unknown(b, w, &u);
            push_symbol(w, id, i, k);
        }
    }
    flush_unknown(b, w, &u);
}

static void symbols_of_bytes(const bpe *b, bpe_work *w, const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int32_t id = b->byte_ids[(unsigned char)s[i]];
        if (id >= 0)
            push_symbol(w, id, i, 1);
        else if (b->unk >= 0)
            push_symbol(w, b->unk, i, 1);
    }
}

/* ---- a piece ---- */

static void emit(const bpe *b, const symbol *sym, size_t n, const char *s, tok_ids *out)
{
    bool unknown = false; /* the last one out */
    for (size_t i = 0; i < n; i++) {
        if (sym[i].id >= 0) {
            nx_vec_push(out, sym[i].id);
            unknown = false;
            continue;
        }
        for (size_t k = 0; k < sym[i].len; k++) { /* score_rank: what is in no token */
            int32_t id = b->byte_fallback ? b->byte_ids[(unsigned char)s[sym[i].begin + k]] : -1;
            if (id < 0 && b->unk >= 0) {
                if (!unknown || !b->fuse_unk)
                    nx_vec_push(out, b->unk);
                unknown = true;
                break;
            }
            if (id >= 0)
                nx_vec_push(out, id);
        }
    }
}

static int32_t whole_token(const bpe *b, bpe_work *w, const char *s, size_t n)
{
    if (!b->ignore_merges)
        return -1;
    if (!b->plain_bytes)
        return (int32_t)nx_map_get(b->vocab, s, n, UINT64_MAX);
    w->text.len = 0;
    uni_put_byte_chars(&w->text, s, n);
    return (int32_t)nx_map_get(b->vocab, w->text.data, w->text.len, UINT64_MAX);
}

static void encode_word(const bpe *b, bpe_work *w, const char *s, size_t n, tok_ids *out)
{
    int32_t whole = whole_token(b, w, s, n);
    if (whole >= 0) {
        nx_vec_push(out, whole);
        return;
    }
    w->symbols.n = 0;
    if (b->plain_bytes)
        symbols_of_bytes(b, w, s, n);
    else
        symbols_of_chars(b, w, s, n);
    size_t count = w->symbols.n;
    if (count <= SHORT_WORD)
        count = merge_short(b, s, w->symbols.at, count);
    else
        count = merge_long(b, w, s);
    emit(b, w->symbols.at, count, s, out);
}

static void encode_cached(const bpe *b, bpe_work *w, const char *s, size_t n, tok_ids *out)
{
    bpe_cache_entry *e = bpe_cache_at(&w->cache, s, n);
    if (e && bpe_cache_holds(e, s, n)) {
        nx_vec_reserve(out, BPE_CACHE_IDS);
        for (size_t i = 0; i < e->n_ids; i++)
            out->at[out->n++] = e->ids[i];
        return;
    }
    size_t from = out->n;
    encode_word(b, w, s, n, out);
    if (e && out->n > from)
        bpe_cache_put(e, s, n, out->at + from, out->n - from);
}

static const char SPACE[] = "\xE2\x96\x81"; /* U+2581, SentencePiece's space */

/* Bytes up to where the next word begins: a U+2581 behind anything else. */
static size_t word_bytes(const char *s, size_t n)
{
    for (size_t i = 1; i + 3 <= n; i++)
        if (memcmp(s + i, SPACE, 3) == 0 && !(i >= 3 && memcmp(s + i - 3, SPACE, 3) == 0))
            return i;
    return n;
}

void bpe_encode(const bpe *b, bpe_work *w, const char *s, size_t n, tok_ids *out)
{
    if (!b->split_words) {
        encode_cached(b, w, s, n, out);
        return;
    }
    while (n) {
        size_t k = word_bytes(s, n);
        encode_cached(b, w, s, k, out);
        s += k;
        n -= k;
    }
}

/* ---- setting up ---- */

static int32_t byte_token(const bpe *b, unsigned byte)
{
    char text[16];
    int n;
    if (b->plain_bytes) {
        nx_str s = {0};
        nx_str_put_utf8(&s, uni_byte_char((uint8_t)byte));
        n = snprintf(text, sizeof text, "%s", nx_str_cstr(&s));
        nx_str_clear(&s);
    } else {
        n = snprintf(text, sizeof text, "<0x%02X>", byte);
    }
    return (int32_t)nx_map_get(b->vocab, text, (size_t)n, UINT64_MAX);
}

/* Whether some token has a space behind something that is no space. */
static bool spans_words(const nx_map *vocab)
{
    for (size_t i = 0; i < vocab->n; i++) {
        const nx_map_entry *e = &vocab->entries[i];
        if (word_bytes(e->key, e->key_len) < e->key_len)
            return true;
    }
    return false;
}

void bpe_finish(bpe *b)
{
    bool all_bytes = true;
    for (unsigned i = 0; i < 256; i++) {
        b->byte_ids[i] = byte_token(b, i);
        all_bytes = all_bytes && b->byte_ids[i] >= 0;
    }
    for (unsigned i = 0; i < 128; i++) {
        char c = (char)i;
        b->ascii_ids[i] = (int32_t)nx_map_get(b->vocab, &c, 1, UINT64_MAX);
    }
    if (!b->merges)
        bpe_reserve(b, 0);
    b->max_len = 0;
    for (size_t i = 0; i < b->vocab->n; i++)
        if (b->vocab->entries[i].key_len > b->max_len)
            b->max_len = b->vocab->entries[i].key_len;
    b->split_words = !b->plain_bytes && !b->prefix.len && !b->suffix.len && !b->ignore_merges &&
                     b->byte_fallback && all_bytes && !spans_words(b->vocab);
}

void bpe_clear(bpe *b)
{
    free(b->merges);
    nx_str_clear(&b->prefix);
    nx_str_clear(&b->suffix);
    *b = (bpe){0};
}

bpe_work *bpe_work_new(void)
{
    bpe_work *w = nx_calloc(1, sizeof *w);
    bpe_cache_init(&w->cache);
    return w;
}

void bpe_work_trim(bpe_work *w)
{
    if (w->symbols.cap > KEPT_SYMBOLS)
        nx_vec_clear(&w->symbols);
    if (w->heap.cap > KEPT_SYMBOLS)
        nx_vec_clear(&w->heap);
}

void bpe_work_free(bpe_work *w)
{
    if (!w)
        return;
    nx_vec_clear(&w->symbols);
    nx_vec_clear(&w->heap);
    nx_str_clear(&w->text);
    bpe_cache_clear(&w->cache);
    free(w);
}
