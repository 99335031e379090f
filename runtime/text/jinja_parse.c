/*
 * jinja_parse.c: expressions, by recursive descent with Jinja's precedences (from loose to tight:
 * if-else, or, and, not, comparisons, + -, ~, * / // %, **, sign, postfix, filters and tests).
 */
#include "runtime/text/jinja_parse.h"

#include <string.h>

#include "base/error.h"

enum { MAX_NESTING = 150 };

bool jinja_parse_fail(const jinja_parser *p, const char *what)
{
    return nx_fail("[template] line %d: %s", p->t->line, what);
}

bool jinja_parse_enter(jinja_parser *p)
{
    if (p->depth >= MAX_NESTING)
        return jinja_parse_fail(p, "the template is nested too deeply");
    p->depth++;
    return true;
}

jnode *jinja_node_at(jinja_parser *p, jinja_kind kind, int line)
{
    jnode *n = nx_arena_calloc(&p->tpl->arena, sizeof *n);
    n->kind = kind;
    n->line = line;
    return n;
}

jnode *jinja_node(jinja_parser *p, jinja_kind kind)
{
    return jinja_node_at(p, kind, p->t->line);
}

jnode_list jinja_nodes_keep(jinja_parser *p, jinja_nodes *v)
{
    jnode_list l = {.n = v->n};
    if (v->n) {
        l.at = nx_arena_alloc(&p->tpl->arena, v->n * sizeof *l.at);
        memcpy(l.at, v->at, v->n * sizeof *l.at);
    }
    nx_vec_clear(v);
    return l;
}

const jinja_str *jinja_parse_str(jinja_parser *p, const char *s, size_t len)
{
    jinja_str *str = nx_arena_calloc(&p->tpl->arena, sizeof *str);
    str->s = s;
    str->len = len;
    str->n = jinja_utf8_count(s, len);
    return str;
}

uint32_t jinja_atom(jinja_template *t, const char *name, size_t len)
{
    nx_map_entry *e = nx_map_find(&t->names, name, len);
    if (e)
        return (uint32_t)e->value;
    nx_map_set(&t->names, name, len, t->names.n);
    return (uint32_t)(t->names.n - 1);
}

bool jinja_is_op(const jinja_parser *p, jinja_op op)
{
    return p->t->type == JT_OP && p->t->op == op;
}

static bool token_is(const jinja_token *t, const char *name)
{
    return t->type == JT_NAME && t->len == strlen(name) && memcmp(t->s, name, t->len) == 0;
}

bool jinja_is_name(const jinja_parser *p, const char *name)
{
    return token_is(p->t, name);
}

bool jinja_skip_op(jinja_parser *p, jinja_op op)
{
    return jinja_is_op(p, op) && p->t++;
}

bool jinja_skip_name(jinja_parser *p, const char *name)
{
    return jinja_is_name(p, name) && p->t++;
}

bool jinja_expect_op(jinja_parser *p, jinja_op op, const char *text)
{
    if (jinja_skip_op(p, op))
        return true;
    return nx_fail("[template] line %d: expected '%s'", p->t->line, text);
}

static jnode *fail(const jinja_parser *p, const char *what)
{
    jinja_parse_fail(p, what);
    return NULL;
}

static const jinja_token *take_name(jinja_parser *p)
{
    if (p->t->type == JT_NAME)
        return p->t++;
    jinja_parse_fail(p, "expected a name");
    return NULL;
}

static void remember_text(jinja_parser *p, const char *s, size_t len)
{
    if (len && len <= 256)
        nx_map_set(&p->tpl->texts, s, len, 1);
}

/* --- primary --- */

static jnode *constant(jinja_parser *p, jval v)
{
    jnode *n = jinja_node(p, JN_CONST);
    n->value = v;
    return n;
}

/* Marks the macros around that read caller, varargs or kwargs. */
static void note_magic(jinja_parser *p, uint32_t atom)
{
    for (jinja_macro_uses *m = p->macros; m; m = m->outer) {
        m->params->uses_caller |= atom == p->tpl->atom_caller;
        m->params->uses_varargs |= atom == p->tpl->atom_varargs;
        m->params->uses_kwargs |= atom == p->tpl->atom_kwargs;
    }
}

static jnode *parse_name(jinja_parser *p, bool with_ns)
{
    const jinja_token *t = p->t;
    jnode *n = NULL;
    if (token_is(t, "true") || token_is(t, "True"))
        n = constant(p, jinja_bool(true));
    else if (token_is(t, "false") || token_is(t, "False"))
        n = constant(p, jinja_bool(false));
    else if (token_is(t, "none") || token_is(t, "None"))
        n = constant(p, jinja_none());
    p->t++;
    if (n)
        return n;
    n = jinja_node_at(p, JN_NAME, t->line);
    n->name = jinja_parse_str(p, t->s, t->len);
    n->atom = jinja_atom(p->tpl, t->s, t->len);
    if (with_ns && jinja_skip_op(p, JINJA_DOT)) {
        const jinja_token *attr = take_name(p);
        if (!attr)
            return NULL;
        n->kind = JN_NSREF;
        n->value = jinja_of_str(jinja_parse_str(p, attr->s, attr->len));
        return n;
    }
    note_magic(p, n->atom);
    return n;
}

/* Adjacent string literals are one. */
static jnode *parse_string(jinja_parser *p)
{
    jnode *n = jinja_node(p, JN_CONST);
    nx_str text = {0};
    while (p->t->type == JT_STRING) {
        nx_str_add(&text, p->t->s, p->t->len);
        p->t++;
    }
    const char *copy = nx_arena_strndup(&p->tpl->arena, nx_str_cstr(&text), text.len);
    n->value = jinja_of_str(jinja_parse_str(p, copy, text.len));
    remember_text(p, copy, text.len);
    nx_str_clear(&text);
    return n;
}

/* The items of [ ] and, with `pairs`, of { }. */
static jnode *parse_display(jinja_parser *p, jinja_kind kind, jinja_op close, const char *text)
{
    jnode *n = jinja_node(p, kind);
    jinja_nodes items = {0};
    p->t++;
    while (!jinja_is_op(p, close)) {
        if (items.n && !jinja_expect_op(p, JINJA_COMMA, ","))
            goto failed;
        if (jinja_is_op(p, close))
            break;
        jnode *item = jinja_parse_expr(p, true);
        if (!item)
            goto failed;
        nx_vec_push(&items, item);
        if (kind != JN_DICT)
            continue;
        if (!jinja_expect_op(p, JINJA_COLON, ":") || !(item = jinja_parse_expr(p, true)))
            goto failed;
        nx_vec_push(&items, item);
    }
    if (!jinja_expect_op(p, close, text))
        goto failed;
    n->list = jinja_nodes_keep(p, &items);
    return n;
failed:
    nx_vec_clear(&items);
    return NULL;
}

static jnode *parse_parens(jinja_parser *p)
{
    p->t++;
    jnode *n = jinja_parse_tuple(p, true, NULL, true);
    return n && jinja_expect_op(p, JINJA_RPAREN, ")") ? n : NULL;
}

static jnode *primary(jinja_parser *p, bool with_ns)
{
    jnode *n;
    switch (p->t->type) {
    case JT_NAME:
        return parse_name(p, with_ns);
    case JT_STRING:
        return parse_string(p);
    case JT_INT:
    case JT_FLOAT:
        n = constant(p, p->t->type == JT_INT ? jinja_int(p->t->i) : jinja_float(p->t->f));
        p->t++;
        return n;
    default:
        break;
    }
    if (jinja_is_op(p, JINJA_LPAREN))
        return parse_parens(p);
    if (jinja_is_op(p, JINJA_LBRACKET))
        return parse_display(p, JN_LIST, JINJA_RBRACKET, "]");
    if (jinja_is_op(p, JINJA_LBRACE))
        return parse_display(p, JN_DICT, JINJA_RBRACE, "}");
    return fail(p,
                p->t->type == JT_EOF ? "the template ends inside a tag" : "expected an expression");
}

jnode *jinja_parse_primary(jinja_parser *p, bool with_ns)
{
    if (!jinja_parse_enter(p))
        return NULL;
    jnode *n = primary(p, with_ns);
    p->depth--;
    return n;
}

/* --- calls, attributes, subscripts --- */

typedef struct {
    jinja_nodes pos, kw;
    NX_VEC(const jinja_str *) names;
    jnode *star, *star_star;
} arg_list;

static bool bad_call(jinja_parser *p, bool bad)
{
    return bad && !jinja_parse_fail(p, "invalid syntax for function call expression");
}

static bool parse_arg(jinja_parser *p, arg_list *a)
{
    if (jinja_skip_op(p, JINJA_MUL))
        return !bad_call(p, a->star || a->star_star) && (a->star = jinja_parse_expr(p, true));
    if (jinja_skip_op(p, JINJA_POW))
        return !bad_call(p, a->star_star) && (a->star_star = jinja_parse_expr(p, true));
    if (p->t->type == JT_NAME && p->t[1].type == JT_OP && p->t[1].op == JINJA_ASSIGN) {
        if (bad_call(p, a->star_star))
            return false;
        nx_vec_push(&a->names, jinja_parse_str(p, p->t->s, p->t->len));
        p->t += 2;
        jnode *v = jinja_parse_expr(p, true);
        nx_vec_push(&a->kw, v);
        return v;
    }
    if (bad_call(p, a->star || a->star_star || a->kw.n))
        return false;
    jnode *v = jinja_parse_expr(p, true);
    nx_vec_push(&a->pos, v);
    return v;
}

static bool same_name_twice(jinja_parser *p, const arg_list *a)
{
    for (size_t i = 0; i < a->names.n; i++)
        for (size_t j = 0; j < i; j++)
            if (a->names.at[i]->len == a->names.at[j]->len &&
                !memcmp(a->names.at[i]->s, a->names.at[j]->s, a->names.at[i]->len))
                return !jinja_parse_fail(p, "a keyword argument is given twice");
    return false;
}

static jinja_call_args *keep_args(jinja_parser *p, arg_list *a)
{
    jinja_call_args *c = nx_arena_calloc(&p->tpl->arena, sizeof *c);
    c->star = a->star;
    c->star_star = a->star_star;
    c->pos = jinja_nodes_keep(p, &a->pos);
    c->kw = jinja_nodes_keep(p, &a->kw);
    c->kw_name = nx_arena_calloc(&p->tpl->arena, (a->names.n + 1) * sizeof *c->kw_name);
    for (size_t i = 0; i < a->names.n; i++)
        c->kw_name[i] = a->names.at[i];
    nx_vec_clear(&a->names);
    return c;
}

static jinja_call_args *parse_args(jinja_parser *p)
{
    arg_list a = {0};
    bool ok = jinja_expect_op(p, JINJA_LPAREN, "(");
    for (bool more = false; ok && !jinja_is_op(p, JINJA_RPAREN); more = true) {
        if (more && !(ok = jinja_expect_op(p, JINJA_COMMA, ",")))
            break;
        if (jinja_is_op(p, JINJA_RPAREN))
            break;
        ok = parse_arg(p, &a);
    }
    ok = ok && jinja_expect_op(p, JINJA_RPAREN, ")") && !same_name_twice(p, &a);
    if (ok)
        return keep_args(p, &a);
    nx_vec_clear(&a.pos);
    nx_vec_clear(&a.kw);
    nx_vec_clear(&a.names);
    return NULL;
}

/* A part of a slice, absent before ':', ',' and ']'. */
static bool parse_slice_part(jinja_parser *p, jnode **out)
{
    *out = NULL;
    if (jinja_is_op(p, JINJA_COLON) || jinja_is_op(p, JINJA_RBRACKET) ||
        jinja_is_op(p, JINJA_COMMA))
        return true;
    return (*out = jinja_parse_expr(p, true));
}

/* One index or slice; *n is a JN_SLICE without its object, or an expression. */
static bool parse_subscript(jinja_parser *p, jnode **n)
{
    jnode *parts[3] = {0};
    if (!parse_slice_part(p, &parts[0]))
        return false;
    if (!jinja_is_op(p, JINJA_COLON)) {
        *n = parts[0];
        return parts[0] || jinja_parse_fail(p, "expected an expression");
    }
    for (int i = 1; i < 3 && jinja_skip_op(p, JINJA_COLON); i++)
        if (!parse_slice_part(p, &parts[i]))
            return false;
    *n = jinja_node(p, JN_SLICE);
    (*n)->b = parts[0];
    (*n)->c = parts[1];
    (*n)->d = parts[2];
    return true;
}

/* A slice that has no object yet; with one it is an expression like any other. */
static bool is_bare_slice(const jnode *n)
{
    return n->kind == JN_SLICE && !n->a;
}

static jnode *parse_brackets(jinja_parser *p, jnode *of)
{
    int line = p->t++->line;
    jinja_nodes items = {0};
    bool ok = true, slices = false;
    while (ok && !jinja_is_op(p, JINJA_RBRACKET)) {
        jnode *item = NULL;
        ok = (!items.n || jinja_expect_op(p, JINJA_COMMA, ",")) && parse_subscript(p, &item);
        slices |= item && is_bare_slice(item);
        nx_vec_push(&items, item);
    }
    if (!ok || !jinja_expect_op(p, JINJA_RBRACKET, "]")) {
        nx_vec_clear(&items);
        return NULL;
    }
    jnode *n = jinja_node_at(p, JN_ITEM, line);
    if (items.n == 1) {
        n->b = items.at[0];
        nx_vec_clear(&items);
    } else {
        n->b = jinja_node_at(p, slices ? JN_BAD_SLICE : JN_TUPLE, line);
        n->b->list = jinja_nodes_keep(p, &items);
    }
    if (is_bare_slice(n->b))
        n = n->b;
    else if (n->b->kind == JN_CONST && n->b->value.t == JINJA_STR)
        remember_text(p, n->b->value.s->s, n->b->value.s->len);
    n->a = of;
    return n;
}

static jnode *parse_dot(jinja_parser *p, jnode *of)
{
    int line = p->t++->line;
    jnode *n;
    if (p->t->type == JT_NAME) {
        n = jinja_node_at(p, JN_ATTR, line);
        n->name = jinja_parse_str(p, p->t->s, p->t->len);
        remember_text(p, p->t->s, p->t->len);
    } else if (p->t->type == JT_INT) {
        n = jinja_node_at(p, JN_ITEM, line);
        n->b = constant(p, jinja_int(p->t->i));
    } else {
        return fail(p, "expected a name or a number after '.'");
    }
    p->t++;
    n->a = of;
    return n;
}

static jnode *parse_call(jinja_parser *p, jnode *of)
{
    jnode *n = jinja_node(p, JN_CALL);
    n->a = of;
    return (n->call = parse_args(p)) ? n : NULL;
}

static jnode *parse_postfix(jinja_parser *p, jnode *n)
{
    while (n) {
        if (jinja_is_op(p, JINJA_DOT))
            n = parse_dot(p, n);
        else if (jinja_is_op(p, JINJA_LBRACKET))
            n = parse_brackets(p, n);
        else if (jinja_is_op(p, JINJA_LPAREN))
            n = parse_call(p, n);
        else
            break;
    }
    return n;
}

/* --- filters and tests --- */

/* name.name…: no filter or test has a dot, so only the row of a plain name is found. */
static const jinja_str *parse_dotted(jinja_parser *p)
{
    const jinja_token *t = take_name(p), *last = t;
    while (last && jinja_skip_op(p, JINJA_DOT))
        last = take_name(p);
    if (!last)
        return NULL;
    return jinja_parse_str(p, t->s, (size_t)(last->s + last->len - t->s));
}

jnode *jinja_parse_filters(jinja_parser *p, jnode *in, bool start_inline)
{
    static jinja_call_args no_args;
    while (jinja_is_op(p, JINJA_PIPE) || start_inline) {
        if (!start_inline)
            p->t++;
        start_inline = false;
        jnode *n = jinja_node(p, JN_FILTER);
        n->a = in;
        n->call = &no_args;
        if (!(n->name = parse_dotted(p)))
            return NULL;
        if (jinja_is_op(p, JINJA_LPAREN) && !(n->call = parse_args(p)))
            return NULL;
        n->row = jinja_filter_find(n->name->s, n->name->len);
        in = n;
    }
    return in;
}

/* May the current token begin the one argument of a test without parentheses? */
static bool starts_argument(const jinja_parser *p)
{
    switch (p->t->type) {
    case JT_NAME:
        return !jinja_is_name(p, "else") && !jinja_is_name(p, "or") && !jinja_is_name(p, "and");
    case JT_STRING:
    case JT_INT:
    case JT_FLOAT:
        return true;
    default:
        return jinja_is_op(p, JINJA_LBRACKET) || jinja_is_op(p, JINJA_LBRACE);
    }
}

static bool parse_test_args(jinja_parser *p, jnode *n)
{
    static jinja_call_args no_args;
    n->call = &no_args;
    if (jinja_is_op(p, JINJA_LPAREN))
        return (n->call = parse_args(p));
    if (!starts_argument(p))
        return true;
    if (jinja_is_name(p, "is"))
        return jinja_parse_fail(p, "tests cannot be chained with 'is'");
    arg_list a = {0};
    jnode *arg = parse_postfix(p, jinja_parse_primary(p, false));
    if (!arg)
        return false;
    nx_vec_push(&a.pos, arg);
    n->call = keep_args(p, &a);
    return true;
}

static jnode *parse_test(jinja_parser *p, jnode *in)
{
    jnode *n = jinja_node(p, JN_TEST);
    p->t++;
    bool negated = jinja_skip_name(p, "not");
    n->a = in;
    if (!(n->name = parse_dotted(p)) || !parse_test_args(p, n))
        return NULL;
    n->row = jinja_find(jinja_tests, n->name->s, n->name->len);
    if (!negated)
        return n;
    jnode *not = jinja_node_at(p, JN_NOT, n->line);
    not ->a = n;
    return not ;
}

static jnode *parse_filter_expr(jinja_parser *p, jnode *n)
{
    while (n) {
        if (jinja_is_op(p, JINJA_PIPE))
            n = jinja_parse_filters(p, n, false);
        else if (jinja_is_name(p, "is"))
            n = parse_test(p, n);
        else if (jinja_is_op(p, JINJA_LPAREN))
            n = parse_call(p, n);
        else
            break;
    }
    return n;
}

/* --- operators --- */

static jnode *parse_unary(jinja_parser *p, bool with_filter)
{
    jnode *n;
    if (jinja_is_op(p, JINJA_SUB) || jinja_is_op(p, JINJA_ADD)) {
        n = jinja_node(p, jinja_is_op(p, JINJA_SUB) ? JN_NEG : JN_POS);
        p->t++;
        if (!jinja_parse_enter(p))
            return NULL;
        n->a = parse_unary(p, false);
        p->depth--;
        if (!n->a)
            return NULL;
    } else {
        n = jinja_parse_primary(p, false);
    }
    n = parse_postfix(p, n);
    return n && with_filter ? parse_filter_expr(p, n) : n;
}

/* The operators of two values by how tightly they bind; ~ stands between + and *. */
static int level_of(const jinja_parser *p)
{
    if (p->t->type != JT_OP)
        return -1;
    switch (p->t->op) {
    case JINJA_ADD:
    case JINJA_SUB:
        return 0;
    case JINJA_TILDE:
        return 1;
    case JINJA_MUL:
    case JINJA_DIV:
    case JINJA_FLOORDIV:
    case JINJA_MOD:
        return 2;
    case JINJA_POW:
        return 3;
    default:
        return -1;
    }
}

static jnode *parse_level(jinja_parser *p, int level);

static jnode *parse_concat(jinja_parser *p, jnode *first)
{
    jnode *n = jinja_node(p, JN_CONCAT);
    jinja_nodes items = {0};
    nx_vec_push(&items, first);
    while (level_of(p) == 1) {
        p->t++;
        jnode *next = parse_level(p, 2);
        if (!next) {
            nx_vec_clear(&items);
            return NULL;
        }
        nx_vec_push(&items, next);
    }
    n->list = jinja_nodes_keep(p, &items);
    return n;
}

/* All of them associate to the left, ** too. */
static jnode *parse_level(jinja_parser *p, int level)
{
    if (level > 3)
        return parse_unary(p, true);
    jnode *left = parse_level(p, level + 1);
    while (left && level_of(p) == level) {
        if (level == 1) {
            left = parse_concat(p, left);
            continue;
        }
        jnode *n = jinja_node(p, JN_BINARY);
        n->op = p->t++->op;
        n->a = left;
        if (!(n->b = parse_level(p, level + 1)))
            return NULL;
        left = n;
    }
    return left;
}

static jinja_op take_comparison(jinja_parser *p)
{
    if (p->t->type == JT_OP && p->t->op >= JINJA_EQ && p->t->op <= JINJA_GE)
        return p->t++->op;
    if (jinja_skip_name(p, "in"))
        return JINJA_IN;
    if (jinja_is_name(p, "not") && token_is(p->t + 1, "in")) {
        p->t += 2;
        return JINJA_NOTIN;
    }
    return JINJA_OP_NONE;
}

static jnode *parse_compare(jinja_parser *p)
{
    jnode *first = parse_level(p, 0);
    jinja_nodes items = {0};
    NX_VEC(jinja_op) ops = {0};
    jinja_op op;
    int line = p->t->line;
    bool ok = first;
    while (ok && (op = take_comparison(p))) {
        jnode *next = parse_level(p, 0);
        ok = next;
        nx_vec_push(&items, next);
        nx_vec_push(&ops, op);
    }
    if (ok && items.n) {
        jnode *n = jinja_node_at(p, JN_COMPARE, line);
        n->a = first;
        n->ops = nx_arena_alloc(&p->tpl->arena, ops.n * sizeof *n->ops);
        memcpy(n->ops, ops.at, ops.n * sizeof *n->ops);
        n->list = jinja_nodes_keep(p, &items);
        first = n;
    }
    nx_vec_clear(&items);
    nx_vec_clear(&ops);
    return ok ? first : NULL;
}

static jnode *parse_not(jinja_parser *p)
{
    if (!jinja_is_name(p, "not"))
        return parse_compare(p);
    jnode *n = jinja_node(p, JN_NOT);
    p->t++;
    if (!jinja_parse_enter(p))
        return NULL;
    n->a = parse_not(p);
    p->depth--;
    return n->a ? n : NULL;
}

static jnode *parse_and_or(jinja_parser *p, bool or)
{
    jnode *left = or ? parse_and_or(p, false) : parse_not(p);
    while (left && jinja_is_name(p, or ? "or" : "and")) {
        jnode *n = jinja_node(p, or ? JN_OR : JN_AND);
        p->t++;
        n->a = left;
        if (!(n->b = or ? parse_and_or(p, false) : parse_not(p)))
            return NULL;
        left = n;
    }
    return left;
}

static jnode *parse_cond(jinja_parser *p)
{
    jnode *value = parse_and_or(p, true);
    while (value && jinja_is_name(p, "if")) {
        jnode *n = jinja_node(p, JN_COND);
        p->t++;
        n->a = value;
        n->b = parse_and_or(p, true);
        if (n->b && jinja_skip_name(p, "else") && !(n->c = jinja_parse_expr(p, true)))
            n->b = NULL;
        value = n->b ? n : NULL;
    }
    return value;
}

jnode *jinja_parse_expr(jinja_parser *p, bool with_cond)
{
    if (!jinja_parse_enter(p))
        return NULL;
    jnode *n = with_cond ? parse_cond(p) : parse_and_or(p, true);
    p->depth--;
    return n;
}

/* --- tuples --- */

static bool tuple_ends(const jinja_parser *p, const char *end)
{
    return p->t->type == JT_VAR_END || p->t->type == JT_BLOCK_END || jinja_is_op(p, JINJA_RPAREN) ||
           (end && jinja_is_name(p, end));
}

typedef struct {
    bool target, with_ns, with_cond;
} item_kind;

static jnode *parse_items(jinja_parser *p, item_kind kind, const char *end, bool parens)
{
    int line = p->t->line;
    jinja_nodes items = {0};
    bool tuple = false, ok = true;
    while (ok && !(items.n && !jinja_skip_op(p, JINJA_COMMA)) && !tuple_ends(p, end)) {
        jnode *item = kind.target ? jinja_parse_primary(p, kind.with_ns)
                                  : jinja_parse_expr(p, kind.with_cond);
        ok = item;
        nx_vec_push(&items, item);
        tuple |= jinja_is_op(p, JINJA_COMMA);
    }
    jnode *n = NULL;
    if (ok && !tuple && items.n) {
        n = items.at[0];
    } else if (ok && (tuple || parens)) {
        n = jinja_node_at(p, JN_TUPLE, line);
        n->list = jinja_nodes_keep(p, &items);
    } else if (ok) {
        jinja_parse_fail(p, "expected an expression");
    }
    nx_vec_clear(&items);
    return n;
}

jnode *jinja_parse_tuple(jinja_parser *p, bool with_cond, const char *end, bool parens)
{
    return parse_items(p, (item_kind){.with_cond = with_cond}, end, parens);
}

static bool assignable(const jnode *n)
{
    if (n->kind == JN_NAME || n->kind == JN_NSREF)
        return true;
    if (n->kind != JN_TUPLE)
        return false;
    for (size_t i = 0; i < n->list.n; i++)
        if (!assignable(n->list.at[i]))
            return false;
    return true;
}

jnode *jinja_parse_target(jinja_parser *p, const char *end, bool with_ns)
{
    jnode *n = parse_items(p, (item_kind){.target = true, .with_ns = with_ns}, end, false);
    if (n && !assignable(n))
        return fail(p, "this cannot be assigned to");
    return n;
}
