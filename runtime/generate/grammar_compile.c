/* grammar_compile.c: from expressions to the program, and the checks that make matching safe. */
#include <stdlib.h>

#include "base/error.h"
#include "runtime/generate/grammar_program.h"

enum { STEPS_MOST = 1 << 20, DEPTH_MOST = 2000 };

typedef struct {
    expr_set *e;
    grammar *g;
    int32_t *rule_at; /* first step of each rule */
    bool too_large;
} compiler;

static int32_t emit(compiler *c, grammar_step s)
{
    if (c->g->steps.n >= STEPS_MOST) {
        c->too_large = true;
        return 0;
    }
    nx_vec_push(&c->g->steps, s);
    return (int32_t)c->g->steps.n - 1;
}

static int32_t emit_expr(compiler *c, expr e, int32_t next, int depth);

/* Steps are made from the end to the start: each knows what follows it. */
static int32_t emit_alt(compiler *c, const expr_node *n, int32_t next, int depth)
{
    if (n->n == 0)
        return emit(c, (grammar_step){.kind = STEP_FAIL});
    int first = n->first;
    int32_t at = emit_expr(c, c->e->parts.at[first + n->n - 1], next, depth);
    for (int i = n->n - 2; i >= 0; i--) {
        int32_t one = emit_expr(c, c->e->parts.at[first + i], next, depth);
        at = emit(c, (grammar_step){.kind = STEP_SPLIT, .next = one, .other = at});
    }
    return at;
}

static int32_t emit_repeat(compiler *c, const expr_node *n, int32_t next, int depth)
{
    expr part = c->e->parts.at[n->first];
    int min = n->min, max = n->max;
    int32_t at = next;
    if (max < 0) { /* a loop: its split is made first, so that the part can come back to it */
        int32_t loop = emit(c, (grammar_step){.kind = STEP_SPLIT, .other = next});
        int32_t body = emit_expr(c, part, loop, depth);
        c->g->steps.at[loop].next = body;
        at = loop;
    }
    for (int i = min; i < max && !c->too_large; i++) {
        int32_t one = emit_expr(c, part, at, depth);
        at = emit(c, (grammar_step){.kind = STEP_SPLIT, .next = one, .other = next});
    }
    for (int i = 0; i < min && !c->too_large; i++)
        at = emit_expr(c, part, at, depth);
    return at;
}

static int32_t emit_expr(compiler *c, expr e, int32_t next, int depth)
{
    if (depth > DEPTH_MOST || c->too_large) {
        c->too_large = true;
        return 0;
    }
    const expr_node n = c->e->nodes.at[e];
    switch (n.kind) {
    case EXPR_BYTES: return emit(c, (grammar_step){.kind = STEP_BYTES, .lo = n.lo, .hi = n.hi, .next = next});
    case EXPR_SEQ:
        for (int i = n.n - 1; i >= 0; i--)
            next = emit_expr(c, c->e->parts.at[n.first + i], next, depth + 1);
        return next;
    case EXPR_ALT: return emit_alt(c, &n, next, depth + 1);
    case EXPR_REPEAT: return emit_repeat(c, &n, next, depth + 1);
    case EXPR_RULE: return emit(c, (grammar_step){.kind = STEP_CALL, .next = next, .other = n.rule});
    }
    return next;
}

/* Calls were emitted with the rule's number: now its first step is known. */
static void link_calls(compiler *c)
{
    for (size_t i = 0; i < c->g->steps.n; i++)
        if (c->g->steps.at[i].kind == STEP_CALL)
            c->g->steps.at[i].other = c->rule_at[c->g->steps.at[i].other];
}

/* ---- what would loop without taking a byte ---- */

/* nullable[r]: rule r can match the empty text. */
static bool expr_nullable(const expr_set *e, expr x, const bool *nullable)
{
    const expr_node *n = &e->nodes.at[x];
    switch (n->kind) {
    case EXPR_BYTES: return false;
    case EXPR_RULE: return nullable[n->rule];
    case EXPR_REPEAT: return n->min == 0 || expr_nullable(e, e->parts.at[n->first], nullable);
    case EXPR_SEQ:
        for (int i = 0; i < n->n; i++)
            if (!expr_nullable(e, e->parts.at[n->first + i], nullable))
                return false;
        return true;
    case EXPR_ALT:
        for (int i = 0; i < n->n; i++)
            if (expr_nullable(e, e->parts.at[n->first + i], nullable))
                return true;
        return false;
    }
    return false;
}

/* mark 0: not seen, 1: on the way here, 2: done. False where a rule reaches itself unread. */
static bool no_left_recursion(const expr_set *e, expr x, const bool *nullable, uint8_t *mark)
{
    const expr_node *n = &e->nodes.at[x];
    if (n->kind == EXPR_RULE) {
        int r = n->rule;
        if (mark[r] == 1)
            return nx_fail("[grammar] the rule '%s' begins with itself: matching would never end",
                           e->rules.at[r].name);
        if (mark[r] == 0) {
            mark[r] = 1;
            if (!no_left_recursion(e, e->rules.at[r].body, nullable, mark))
                return false;
            mark[r] = 2;
        }
        return true;
    }
    for (int i = 0; n->kind != EXPR_BYTES && i < n->n; i++) {
        expr part = e->parts.at[n->first + i];
        if (!no_left_recursion(e, part, nullable, mark))
            return false;
        if (n->kind == EXPR_SEQ && !expr_nullable(e, part, nullable))
            break;
    }
    return true;
}

static bool check(const expr_set *e)
{
    size_t n = e->rules.n;
    for (size_t i = 0; i < n; i++)
        if (e->rules.at[i].body < 0)
            return nx_fail("[grammar] the rule '%s' is used and not given", e->rules.at[i].name);
    bool *nullable = nx_calloc(n + 1, sizeof *nullable);
    uint8_t *mark = nx_calloc(n + 1, 1);
    for (bool changed = true; changed;) {
        changed = false;
        for (size_t i = 0; i < n; i++)
            if (!nullable[i] && expr_nullable(e, e->rules.at[i].body, nullable))
                nullable[i] = changed = true;
    }
    bool ok = true;
    for (size_t i = 0; i < n && ok; i++) {
        if (mark[i])
            continue;
        mark[i] = 1;
        ok = no_left_recursion(e, e->rules.at[i].body, nullable, mark);
        mark[i] = 2;
    }
    free(nullable);
    free(mark);
    return ok;
}

grammar *grammar_compile(expr_set *e, expr root)
{
    if (e->too_large || !check(e)) {
        if (e->too_large)
            nx_fail("[grammar] it is too large: over %d parts, or a repetition over %d times",
                    EXPR_NODES_MOST, EXPR_REPEAT_MOST);
        expr_set_clear(e);
        return NULL;
    }
    grammar *g = nx_calloc(1, sizeof *g);
    compiler c = {.e = e, .g = g, .rule_at = nx_calloc(e->rules.n + 1, sizeof *c.rule_at)};
    int32_t end = emit(&c, (grammar_step){.kind = STEP_END});
    int32_t back = emit(&c, (grammar_step){.kind = STEP_RETURN});
    for (size_t i = 0; i < e->rules.n; i++)
        c.rule_at[i] = emit_expr(&c, e->rules.at[i].body, back, 0);
    g->start = emit_expr(&c, root, end, 0);
    link_calls(&c);
    free(c.rule_at);
    expr_set_clear(e);
    if (c.too_large) {
        grammar_free(g);
        return nx_fail_null("[grammar] it is too large: over %d steps", STEPS_MOST);
    }
    return g;
}

void grammar_free(grammar *g)
{
    if (!g)
        return;
    nx_vec_clear(&g->steps);
    free(g);
}
