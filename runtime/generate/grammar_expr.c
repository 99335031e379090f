#include "runtime/generate/grammar_expr.h"

#include <stdlib.h>
#include <string.h>

void expr_set_clear(expr_set *s)
{
    for (size_t i = 0; i < s->rules.n; i++)
        free(s->rules.at[i].name);
    nx_vec_clear(&s->rules);
    nx_vec_clear(&s->nodes);
    nx_vec_clear(&s->parts);
    nx_map_clear(&s->names);
}

static expr add(expr_set *s, expr_node node)
{
    if (s->nodes.n >= EXPR_NODES_MOST) {
        s->too_large = true;
        return 0;
    }
    nx_vec_push(&s->nodes, node);
    return (expr)s->nodes.n - 1;
}

static expr add_parts(expr_set *s, expr_kind kind, const expr *parts, int n)
{
    int first = (int)s->parts.n;
    for (int i = 0; i < n; i++)
        nx_vec_push(&s->parts, parts[i]);
    return add(s, (expr_node){.kind = kind, .first = first, .n = n});
}

expr expr_empty(expr_set *s)
{
    return add_parts(s, EXPR_SEQ, NULL, 0);
}

expr expr_byte(expr_set *s, uint8_t lo, uint8_t hi)
{
    return add(s, (expr_node){.kind = EXPR_BYTES, .lo = lo, .hi = hi});
}

expr expr_seq(expr_set *s, const expr *parts, int n)
{
    return n == 1 ? parts[0] : add_parts(s, EXPR_SEQ, parts, n);
}

expr expr_alt(expr_set *s, const expr *parts, int n)
{
    return n == 1 ? parts[0] : add_parts(s, EXPR_ALT, parts, n);
}

expr expr_text(expr_set *s, const char *text, size_t n)
{
    NX_VEC(expr) parts = {0};
    for (size_t i = 0; i < n; i++)
        nx_vec_push(&parts, expr_byte(s, (uint8_t)text[i], (uint8_t)text[i]));
    expr e = expr_seq(s, parts.at, (int)parts.n);
    nx_vec_clear(&parts);
    return e;
}

expr expr_repeat(expr_set *s, expr part, int min, int max)
{
    const expr_node *inner = part >= 0 && (size_t)part < s->nodes.n ? &s->nodes.at[part] : NULL;
    bool simple = inner && inner->kind == EXPR_REPEAT && inner->max < 0 && inner->min < 2;
    if (simple && min < 2 && (max < 0 || max == 1)) { /* (x+)* and the like are x*: each level would double the work */
        part = s->parts.at[inner->first];
        min *= inner->min;
        max = -1;
    }
    int first = (int)s->parts.n;
    if (min > EXPR_REPEAT_MOST || max > EXPR_REPEAT_MOST)
        s->too_large = true;
    nx_vec_push(&s->parts, part);
    return add(s, (expr_node){.kind = EXPR_REPEAT, .first = first, .n = 1, .min = min, .max = max});
}

expr expr_optional(expr_set *s, expr part)
{
    return expr_repeat(s, part, 0, 1);
}

int expr_rule_index(expr_set *s, const char *name, size_t n)
{
    const nx_map_entry *e = nx_map_find(&s->names, name, n);
    if (e)
        return (int)e->value;
    int index = (int)s->rules.n;
    nx_vec_push(&s->rules, (expr_rule){nx_strndup(name, n), -1});
    nx_map_set(&s->names, name, n, (uint64_t)index);
    return index;
}

expr expr_call(expr_set *s, const char *name, size_t n)
{
    return add(s, (expr_node){.kind = EXPR_RULE, .rule = expr_rule_index(s, name, n)});
}

/* ---- classes of characters as UTF-8 ---- */

static int by_low(const void *a, const void *b)
{
    const code_range *x = a, *y = b;
    return x->lo < y->lo ? -1 : x->lo > y->lo;
}

/* Sorts, and joins what touches. */
static void join(code_ranges *r)
{
    size_t n = 0;
    if (r->n == 0)
        return;
    qsort(r->at, r->n, sizeof *r->at, by_low);
    for (size_t i = 1; i < r->n; i++) {
        if (r->at[i].lo <= r->at[n].hi + 1)
            r->at[n].hi = r->at[i].hi > r->at[n].hi ? r->at[i].hi : r->at[n].hi;
        else
            r->at[++n] = r->at[i];
    }
    r->n = n + 1;
}

static void negate(code_ranges *r)
{
    code_ranges out = {0};
    uint32_t from = 0;
    for (size_t i = 0; i < r->n; i++) {
        if (r->at[i].lo > from)
            nx_vec_push(&out, (code_range){from, r->at[i].lo - 1});
        from = r->at[i].hi + 1;
    }
    if (from <= 0x10FFFF)
        nx_vec_push(&out, (code_range){from, 0x10FFFF});
    nx_vec_clear(r);
    *r = out;
}

static int encode(uint32_t c, uint8_t *out)
{
    if (c < 0x80) {
        out[0] = (uint8_t)c;
        return 1;
    }
    int n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (int i = n - 1; i > 0; i--, c >>= 6)
        out[i] = (uint8_t)(0x80 | (c & 0x3F));
    out[0] = (uint8_t)((n == 2 ? 0xC0 : n == 3 ? 0xE0 : 0xF0) | c);
    return n;
}

typedef NX_VEC(expr) expr_vec;

/* Splits lo … hi until each piece is a product of byte ranges. */
static void add_range(expr_set *s, expr_vec *out, uint32_t lo, uint32_t hi)
{
    static const uint32_t lengths[] = {0x7F, 0x7FF, 0xFFFF};
    if (lo > hi)
        return;
    for (int i = 0; i < 3; i++)
        if (lo <= lengths[i] && hi > lengths[i]) {
            add_range(s, out, lo, lengths[i]);
            add_range(s, out, lengths[i] + 1, hi);
            return;
        }
    if (lo < 0xE000 && hi > 0xD7FF) { /* without the surrogates */
        add_range(s, out, lo, lo < 0xD800 ? 0xD7FF : lo - 1);
        add_range(s, out, hi > 0xDFFF ? 0xE000 : hi + 1, hi);
        return;
    }
    for (int i = 1; i < 4; i++) {
        uint32_t below = (1u << (6 * i)) - 1; /* bits of the last i bytes */
        if (hi <= 0x7F || (lo & ~below) == (hi & ~below))
            continue;
        if (lo & below) {
            add_range(s, out, lo, lo | below);
            add_range(s, out, (lo | below) + 1, hi);
            return;
        }
        if ((hi & below) != below) {
            add_range(s, out, lo, (hi & ~below) - 1);
            add_range(s, out, hi & ~below, hi);
            return;
        }
    }
    uint8_t a[4], b[4];
    expr parts[4];
    int n = encode(lo, a);
    encode(hi, b);
    for (int i = 0; i < n; i++)
        parts[i] = expr_byte(s, a[i], b[i]);
    nx_vec_push(out, expr_seq(s, parts, n));
}

expr expr_class(expr_set *s, code_ranges *r, bool negated)
{
    expr_vec parts = {0};
    join(r);
    if (negated)
        negate(r);
    for (size_t i = 0; i < r->n; i++)
        add_range(s, &parts, r->at[i].lo, r->at[i].hi < 0x10FFFF ? r->at[i].hi : 0x10FFFF);
    expr e = expr_alt(s, parts.at, (int)parts.n); /* of nothing: matches nothing */
    nx_vec_clear(&parts);
    return e;
}
