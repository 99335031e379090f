/* grammar_match.c: the automaton that is made while it is used, and masks over the vocabulary. */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "runtime/generate/grammar_program.h"

enum {
    DEPTH_MOST = 1000,   /* rules called inside one another */
    STATES_MOST = 20000, /* over this all but the present state is forgotten */
    MASKS_MOST = 256,
    UNKNOWN = -2,
    DEAD = -1,
};

/* ---- the vocabulary ---- */

typedef struct {
    const char *bytes;
    uint32_t len, shared; /* shared: bytes at the start equal to the one before */
    int32_t id;
} word;

struct vocabulary {
    NX_VEC(word) words; /* sorted by their bytes */
    NX_VEC(int32_t) ends; /* end-of-text tokens */
    const tokenizer *tokenizer;
};

static int by_bytes(const void *a, const void *b)
{
    const word *x = a, *y = b;
    size_t n = x->len < y->len ? x->len : y->len;
    int order = memcmp(x->bytes, y->bytes, n);
    if (order)
        return order;
    if (x->len != y->len)
        return x->len < y->len ? -1 : 1;
    return x->id < y->id ? -1 : 1;
}

vocabulary *vocabulary_new(const tokenizer *t)
{
    vocabulary *v = nx_calloc(1, sizeof *v);
    v->tokenizer = t;
    for (size_t i = 0; i < tok_vocab_size(t); i++) {
        int32_t id = (int32_t)i;
        nx_slice s = tok_piece(t, id);
        if (tok_is_eog(t, id))
            nx_vec_push(&v->ends, id);
        else if (!tok_is_special(t, id) && s.len > 0)
            nx_vec_push(&v->words, (word){s.data, (uint32_t)s.len, 0, id});
    }
    if (v->words.n)
        qsort(v->words.at, v->words.n, sizeof *v->words.at, by_bytes);
    for (size_t i = 1; i < v->words.n; i++) {
        word *a = &v->words.at[i - 1], *b = &v->words.at[i];
        while (b->shared < a->len && b->shared < b->len && a->bytes[b->shared] == b->bytes[b->shared])
            b->shared++;
    }
    return v;
}

void vocabulary_free(vocabulary *v)
{
    if (!v)
        return;
    nx_vec_clear(&v->words);
    nx_vec_clear(&v->ends);
    free(v);
}

/* ---- states ---- */

/* A stack of return addresses: the top, and the rest. Number 0 is the empty one. */
typedef struct {
    int32_t pc, below, depth;
} frame;

/* A place in the program, at a byte step or the end, and its stack. */
typedef struct {
    int32_t pc, stack;
} place;

typedef struct {
    size_t first;
    int n;
    bool may_end;
    int32_t *next;  /* [256], made at the first step; UNKNOWN, DEAD or a state */
    uint64_t *mask; /* made when asked for */
} state;

typedef NX_VEC(place) place_vec;

typedef struct {
    place place;
    uint32_t round;
} mark;
typedef struct {
    mark *at;
    size_t size, n;
    uint32_t round; /* of the marks that count */
} seen_set;

struct matcher {
    const grammar *g;
    const vocabulary *v;
    int words_n; /* of a mask */
    NX_VEC(frame) frames;
    NX_VEC(state) states;
    place_vec places; /* of all states */
    nx_map by_content; /* places of a state to its number; frames to theirs */
    place_vec work;
    seen_set seen;
    int32_t now;
    int32_t marked; /* the place to go back to; DEAD: none */
    int n_masks;
    NX_VEC(int32_t) path; /* state after each byte of the word being walked */
};

static int32_t push_frame(matcher *m, int32_t pc, int32_t below)
{
    struct {
        int32_t tag, pc, below;
    } key = {-1, pc, below}; /* no state's key is that short */
    const nx_map_entry *e = nx_map_find(&m->by_content, (const char *)&key, sizeof key);
    if (e)
        return (int32_t)e->value;
    int32_t depth = below ? m->frames.at[below].depth + 1 : 1;
    nx_vec_push(&m->frames, (frame){pc, below, depth});
    int32_t id = (int32_t)m->frames.n - 1;
    nx_map_set(&m->by_content, (const char *)&key, sizeof key, (uint64_t)id);
    return id;
}

static int by_place(const void *a, const void *b)
{
    const place *x = a, *y = b;
    if (x->pc != y->pc)
        return x->pc < y->pc ? -1 : 1;
    return x->stack < y->stack ? -1 : x->stack > y->stack;
}

/* ---- places met in one step: a table of powers of two, at most half full ---- */

/* What was met before is forgotten: its marks are of an older round. */
static void seen_begin(seen_set *s)
{
    s->n = 0;
    if (++s->round == 0) {
        memset(s->at, 0, s->size * sizeof *s->at);
        s->round = 1;
    }
}

/* Where p is, or would be. */
static mark *seen_slot(const seen_set *s, place p)
{
    size_t i = ((uint32_t)p.pc * 2654435761u ^ (uint32_t)p.stack * 2246822519u) >> 7;
    for (i &= s->size - 1; s->at[i].round == s->round; i = (i + 1) & (s->size - 1))
        if (s->at[i].place.pc == p.pc && s->at[i].place.stack == p.stack)
            break;
    return &s->at[i];
}

static void seen_grow(seen_set *s)
{
    seen_set larger = {.size = s->size ? 2 * s->size : 64, .n = s->n, .round = 1};
    larger.at = nx_calloc(larger.size, sizeof *larger.at);
    for (size_t i = 0; i < s->size; i++)
        if (s->at[i].round == s->round)
            *seen_slot(&larger, s->at[i].place) = (mark){s->at[i].place, 1};
    free(s->at);
    *s = larger;
}

static bool seen_before(seen_set *s, place p)
{
    if (2 * s->n >= s->size)
        seen_grow(s);
    mark *at = seen_slot(s, p);
    if (at->round == s->round)
        return true;
    *at = (mark){p, s->round};
    s->n++;
    return false;
}

/* Adds to *out every byte step and end that is reached from p without a byte. */
static void close_over(matcher *m, place from, place_vec *out)
{
    const grammar_step *steps = m->g->steps.at;
    nx_vec_push(&m->work, from);
    while (m->work.n) {
        place p = nx_vec_pop(&m->work);
        const grammar_step *s = &steps[p.pc];
        if (seen_before(&m->seen, p))
            continue;
        switch ((step_kind)s->kind) {
        case STEP_BYTES:
        case STEP_END: nx_vec_push(out, p); break;
        case STEP_SPLIT:
            nx_vec_push(&m->work, (place){s->other, p.stack});
            nx_vec_push(&m->work, (place){s->next, p.stack});
            break;
        case STEP_CALL: {
            bool tail = steps[s->next].kind == STEP_RETURN; /* nothing is left to come back for */
            int32_t stack = tail ? p.stack : push_frame(m, s->next, p.stack);
            if (tail || m->frames.at[stack].depth < DEPTH_MOST)
                nx_vec_push(&m->work, (place){s->other, stack});
            break;
        }
        case STEP_RETURN:
            if (p.stack)
                nx_vec_push(&m->work, (place){m->frames.at[p.stack].pc, m->frames.at[p.stack].below});
            break;
        case STEP_FAIL: break;
        }
    }
}

/* The state of these places; sorts them. */
static int32_t intern(matcher *m, place_vec *p)
{
    if (p->n == 0)
        return DEAD;
    qsort(p->at, p->n, sizeof *p->at, by_place);
    size_t bytes = p->n * sizeof *p->at;
    /* A key of 12 bytes would be a frame's: places make multiples of 8. */
    const nx_map_entry *e = nx_map_find(&m->by_content, (const char *)p->at, bytes);
    if (e)
        return (int32_t)e->value;
    state s = {.first = m->places.n, .n = (int)p->n};
    for (size_t i = 0; i < p->n; i++) {
        nx_vec_push(&m->places, p->at[i]);
        s.may_end = s.may_end || m->g->steps.at[p->at[i].pc].kind == STEP_END;
    }
    nx_vec_push(&m->states, s);
    int32_t id = (int32_t)m->states.n - 1;
    nx_map_set(&m->by_content, (const char *)p->at, bytes, (uint64_t)id);
    return id;
}

static int32_t step_slow(matcher *m, int32_t from, uint8_t byte)
{
    place_vec out = {0};
    seen_begin(&m->seen);
    const state s = m->states.at[from];
    for (int i = 0; i < s.n; i++) {
        place p = m->places.at[s.first + (size_t)i];
        const grammar_step *g = &m->g->steps.at[p.pc];
        if (g->kind == STEP_BYTES && byte >= g->lo && byte <= g->hi)
            close_over(m, (place){g->next, p.stack}, &out);
    }
    int32_t to = intern(m, &out);
    nx_vec_clear(&out);
    return to;
}

static int32_t step(matcher *m, int32_t from, uint8_t byte)
{
    if (from < 0)
        return DEAD;
    if (!m->states.at[from].next) {
        int32_t *next = nx_malloc(256 * sizeof *next);
        for (int i = 0; i < 256; i++)
            next[i] = UNKNOWN;
        m->states.at[from].next = next;
    }
    int32_t to = m->states.at[from].next[byte];
    if (to == UNKNOWN) {
        to = step_slow(m, from, byte);
        m->states.at[from].next[byte] = to;
    }
    return to;
}

/* ---- the matcher's life ---- */

static void forget(matcher *m)
{
    for (size_t i = 0; i < m->states.n; i++) {
        free(m->states.at[i].next);
        free(m->states.at[i].mask);
    }
    m->states.n = m->places.n = m->frames.n = 0;
    m->n_masks = 0;
    nx_map_clear(&m->by_content);
    nx_vec_push(&m->frames, (frame){-1, 0, 0});
}

void matcher_reset(matcher *m)
{
    place_vec out = {0};
    forget(m);
    seen_begin(&m->seen);
    close_over(m, (place){m->g->start, 0}, &out);
    m->now = intern(m, &out);
    nx_vec_clear(&out);
}

matcher *matcher_new(const grammar *g, const vocabulary *v, int vocab_size)
{
    matcher *m = nx_calloc(1, sizeof *m);
    m->g = g;
    m->v = v;
    m->words_n = (vocab_size + 63) / 64;
    m->marked = DEAD;
    matcher_reset(m);
    return m;
}

void matcher_free(matcher *m)
{
    if (!m)
        return;
    forget(m);
    nx_vec_clear(&m->frames);
    nx_vec_clear(&m->states);
    nx_vec_clear(&m->places);
    nx_vec_clear(&m->work);
    free(m->seen.at);
    nx_vec_clear(&m->path);
    nx_map_clear(&m->by_content);
    free(m);
}

/* Keeps the present state alone: its stacks are copied out, bottom last, and made anew. */
static void compact(matcher *m)
{
    const state s = m->states.at[m->now];
    NX_VEC(int32_t) chains = {0}; /* for each place: pc, depth, and the stack from top to bottom */
    for (int i = 0; i < s.n; i++) {
        place p = m->places.at[s.first + (size_t)i];
        nx_vec_push(&chains, p.pc);
        nx_vec_push(&chains, m->frames.at[p.stack].depth);
        for (int32_t f = p.stack; f; f = m->frames.at[f].below)
            nx_vec_push(&chains, m->frames.at[f].pc);
    }
    forget(m);
    place_vec places = {0};
    for (size_t at = 0; at < chains.n;) {
        int32_t pc = chains.at[at], depth = chains.at[at + 1], stack = 0;
        for (int32_t i = depth; i > 0; i--)
            stack = push_frame(m, chains.at[at + 1 + (size_t)i], stack);
        nx_vec_push(&places, (place){pc, stack});
        at += 2 + (size_t)depth;
    }
    m->now = intern(m, &places);
    nx_vec_clear(&places);
    nx_vec_clear(&chains);
}

static void forget_masks(matcher *m)
{
    for (size_t i = 0; i < m->states.n; i++) {
        free(m->states.at[i].mask);
        m->states.at[i].mask = NULL;
    }
    m->n_masks = 0;
}

/* ---- masks ---- */

static void allow(uint64_t *mask, int words_n, int32_t id)
{
    if (id / 64 < words_n)
        mask[id / 64] |= (uint64_t)1 << (id % 64);
}

/* Words in order: each goes on from the bytes it shares with the one before. */
static bool walk(matcher *m, uint64_t *mask)
{
    bool any = false;
    size_t alive = 0; /* bytes of the last word that matched */
    m->path.n = 0;
    nx_vec_push(&m->path, m->now);
    for (size_t i = 0; i < m->v->words.n; i++) {
        const word *w = &m->v->words.at[i];
        if (i > 0 && w->shared > alive)
            continue; /* it begins with what did not match */
        alive = i > 0 ? w->shared : 0;
        while (alive < w->len) {
            int32_t to = step(m, m->path.at[alive], (uint8_t)w->bytes[alive]);
            if (to == DEAD)
                break;
            alive++;
            m->path.n = alive;
            nx_vec_push(&m->path, to);
        }
        if (alive == w->len) {
            allow(mask, m->words_n, w->id);
            any = true;
        }
    }
    return any;
}

const uint64_t *matcher_mask(matcher *m)
{
    if (m->now == DEAD)
        return nx_fail_null("[grammar] the text left the grammar");
    if (m->states.n > STATES_MOST && m->marked == DEAD) /* what is marked has to stay */
        compact(m);
    if (m->states.at[m->now].mask)
        return m->states.at[m->now].mask;
    if (m->n_masks >= MASKS_MOST)
        forget_masks(m);
    uint64_t *mask = nx_calloc((size_t)m->words_n, sizeof *mask);
    bool any = walk(m, mask);
    state *s = &m->states.at[m->now]; /* states may have moved */
    for (size_t i = 0; s->may_end && i < m->v->ends.n; i++) {
        allow(mask, m->words_n, m->v->ends.at[i]);
        any = true;
    }
    if (!any) {
        free(mask);
        return nx_fail_null("[grammar] no token of this vocabulary can continue the text");
    }
    s->mask = mask;
    m->n_masks++;
    return mask;
}

bool matcher_bytes(matcher *m, const char *bytes, size_t n)
{
    for (size_t i = 0; i < n && m->now != DEAD; i++)
        m->now = step(m, m->now, (uint8_t)bytes[i]);
    return m->now != DEAD;
}

bool matcher_accept(matcher *m, int32_t id)
{
    const tokenizer *t = m->v->tokenizer;
    nx_slice s = tok_piece(t, id);
    if (tok_is_eog(t, id))
        return matcher_may_end(m);
    if (tok_is_special(t, id) || s.len == 0)
        m->now = DEAD;
    return matcher_bytes(m, s.data, s.len);
}

void matcher_mark(matcher *m)
{
    m->marked = m->now;
}

void matcher_back(matcher *m)
{
    m->now = m->marked;
    m->marked = DEAD;
}

bool matcher_may_end(matcher *m)
{
    return m->now != DEAD && m->states.at[m->now].may_end;
}
