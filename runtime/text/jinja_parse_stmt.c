/*
 * jinja_parse_stmt.c: statements: a table from tag names to their parsers, and the template.
 */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "runtime/text/jinja_parse.h"

enum { MAX_SOURCE = 8 << 20 };

typedef jnode *statement_fn(jinja_parser *p, int line);

static const char *const end_for[] = {"endfor", "else", NULL};
static const char *const end_for_else[] = {"endfor", NULL};
static const char *const end_if[] = {"elif", "else", "endif", NULL};
static const char *const end_else[] = {"endif", NULL};
static const char *const end_set[] = {"endset", NULL};
static const char *const end_macro[] = {"endmacro", NULL};
static const char *const end_call[] = {"endcall", NULL};
static const char *const end_filter[] = {"endfilter", NULL};
static const char *const end_with[] = {"endwith", NULL};
static const char *const end_generation[] = {"endgeneration", NULL};
static const char *const end_block[] = {"endblock", NULL};

static bool at_end(const jinja_parser *p, const char *const *ends)
{
    for (; ends && *ends; ends++)
        if (jinja_is_name(p, *ends))
            return true;
    return false;
}

/* The body behind a tag, up to and without the name of the tag that ends it. */
static bool parse_statements(jinja_parser *p, const char *const *ends, jnode_list *out)
{
    jinja_skip_op(p, JINJA_COLON);
    if (p->t->type != JT_BLOCK_END)
        return jinja_parse_fail(p, "expected the end of the tag");
    p->t++;
    if (!jinja_parse_body(p, ends, out))
        return false;
    if (p->t->type == JT_EOF)
        return nx_fail("[template] the template ends where {%% %s %%} is missing", ends[0]);
    return true;
}

/* The same, and the ending name is taken too. */
static bool parse_block(jinja_parser *p, const char *const *ends, jnode_list *out)
{
    return parse_statements(p, ends, out) && p->t++;
}

static jnode *parse_set(jinja_parser *p, int line)
{
    jnode *n = jinja_node_at(p, JN_SET, line);
    if (!(n->a = jinja_parse_target(p, NULL, true)))
        return NULL;
    if (jinja_skip_op(p, JINJA_ASSIGN))
        return (n->b = jinja_parse_tuple(p, true, NULL, false)) ? n : NULL;
    n->kind = JN_SET_BLOCK;
    if (jinja_is_op(p, JINJA_PIPE) && !(n->b = jinja_parse_filters(p, NULL, false)))
        return NULL;
    return parse_block(p, end_set, &n->body) ? n : NULL;
}

static bool names_loop(const jinja_parser *p, const jnode *target)
{
    if (target->kind == JN_NAME)
        return target->atom == p->tpl->atom_loop;
    for (size_t i = 0; i < target->list.n; i++)
        if (names_loop(p, target->list.at[i]))
            return true;
    return false;
}

static jnode *parse_for(jinja_parser *p, int line)
{
    jnode *n = jinja_node_at(p, JN_FOR, line);
    if (!(n->a = jinja_parse_target(p, "in", false)))
        return NULL;
    if (!jinja_skip_name(p, "in"))
        return jinja_parse_fail(p, "expected 'in'"), NULL;
    if (!(n->b = jinja_parse_tuple(p, false, "recursive", false)))
        return NULL;
    if (jinja_skip_name(p, "if") && !(n->c = jinja_parse_expr(p, true)))
        return NULL;
    n->flag = jinja_skip_name(p, "recursive");
    p->loops++;
    bool ok = parse_statements(p, end_for, &n->body);
    p->loops--;
    if (!ok)
        return NULL;
    bool orelse = jinja_is_name(p, "else");
    p->t++;
    if (orelse && !parse_block(p, end_for_else, &n->orelse))
        return NULL;
    if (names_loop(p, n->a))
        return jinja_parse_fail(p, "a loop cannot assign to 'loop'"), NULL;
    return n;
}

/* elif is an if inside the else. */
static jnode *parse_if(jinja_parser *p, int line)
{
    jnode *first = NULL, *last = NULL;
    do {
        jnode *n = jinja_node_at(p, JN_IF, first ? p->t->line : line);
        if (!(n->a = jinja_parse_tuple(p, false, NULL, false)) ||
            !parse_statements(p, end_if, &n->body))
            return NULL;
        if (last) {
            jinja_nodes one = {0};
            nx_vec_push(&one, n);
            last->orelse = jinja_nodes_keep(p, &one);
        } else {
            first = n;
        }
        last = n;
    } while (jinja_skip_name(p, "elif"));
    if (jinja_skip_name(p, "else"))
        return parse_block(p, end_else, &last->orelse) ? first : NULL;
    p->t++;
    return first;
}

static bool parse_name(jinja_parser *p, const jinja_str **name, uint32_t *atom)
{
    if (p->t->type != JT_NAME)
        return jinja_parse_fail(p, "expected a name");
    *name = jinja_parse_str(p, p->t->s, p->t->len);
    *atom = jinja_atom(p->tpl, p->t->s, p->t->len);
    p->t++;
    return true;
}

typedef struct {
    NX_VEC(uint32_t) atoms;
    NX_VEC(const jinja_str *) names;
    jinja_nodes defaults;
} param_list;

static bool parse_params(jinja_parser *p, param_list *l)
{
    bool defaults = false;
    if (!jinja_expect_op(p, JINJA_LPAREN, "("))
        return false;
    while (!jinja_is_op(p, JINJA_RPAREN)) {
        const jinja_str *name;
        uint32_t atom;
        jnode *value = NULL;
        if ((l->atoms.n && !jinja_expect_op(p, JINJA_COMMA, ",")) || !parse_name(p, &name, &atom))
            return false;
        if (jinja_skip_op(p, JINJA_ASSIGN)) {
            defaults = true;
            if (!(value = jinja_parse_expr(p, true)))
                return false;
        } else if (defaults) {
            return jinja_parse_fail(p, "a parameter without a default follows one with");
        }
        nx_vec_push(&l->atoms, atom);
        nx_vec_push(&l->names, name);
        nx_vec_push(&l->defaults, value);
    }
    p->t++;
    return true;
}

static bool parse_signature(jinja_parser *p, jinja_params *out)
{
    param_list l = {0};
    bool ok = parse_params(p, &l);
    if (ok && l.atoms.n) {
        out->n = l.atoms.n;
        out->atoms = nx_arena_alloc(&p->tpl->arena, out->n * sizeof *out->atoms);
        out->names = nx_arena_alloc(&p->tpl->arena, out->n * sizeof *out->names);
        memcpy(out->atoms, l.atoms.at, out->n * sizeof *out->atoms);
        memcpy(out->names, l.names.at, out->n * sizeof *out->names);
        out->defaults = jinja_nodes_keep(p, &l.defaults).at;
    }
    nx_vec_clear(&l.atoms);
    nx_vec_clear(&l.names);
    nx_vec_clear(&l.defaults);
    return ok;
}

/* A macro's body: loops outside of it are out of reach, and the magic names it reads are noted. */
static bool parse_macro_body(jinja_parser *p, jnode *n, const char *const *ends)
{
    jinja_macro_uses uses = {p->macros, n->params};
    int loops = p->loops;
    p->macros = &uses;
    p->loops = 0;
    bool ok = parse_block(p, ends, &n->body);
    p->loops = loops;
    p->macros = uses.outer;
    return ok;
}

static jnode *parse_macro(jinja_parser *p, int line)
{
    jnode *n = jinja_node_at(p, JN_MACRO, line);
    n->params = nx_arena_calloc(&p->tpl->arena, sizeof *n->params);
    if (!parse_name(p, &n->name, &n->atom) || !parse_signature(p, n->params))
        return NULL;
    return parse_macro_body(p, n, end_macro) ? n : NULL;
}

static jnode *parse_call(jinja_parser *p, int line)
{
    jnode *n = jinja_node_at(p, JN_CALL_BLOCK, line);
    n->params = nx_arena_calloc(&p->tpl->arena, sizeof *n->params);
    n->name = jinja_parse_str(p, "caller", 6);
    if (jinja_is_op(p, JINJA_LPAREN) && !parse_signature(p, n->params))
        return NULL;
    if (!(n->a = jinja_parse_expr(p, true)))
        return NULL;
    if (n->a->kind != JN_CALL)
        return jinja_parse_fail(p, "{% call %} expects a call"), NULL;
    return parse_macro_body(p, n, end_call) ? n : NULL;
}

static jnode *parse_filter(jinja_parser *p, int line)
{
    jnode *n = jinja_node_at(p, JN_FILTER_BLOCK, line);
    if (!(n->b = jinja_parse_filters(p, NULL, true)))
        return NULL;
    return parse_block(p, end_filter, &n->body) ? n : NULL;
}

static jnode *parse_with(jinja_parser *p, int line)
{
    jnode *n = jinja_node_at(p, JN_WITH, line);
    jinja_nodes items = {0};
    bool ok = true;
    while (ok && p->t->type != JT_BLOCK_END) {
        jnode *target = NULL, *value = NULL;
        ok = (!items.n || jinja_expect_op(p, JINJA_COMMA, ",")) &&
             (target = jinja_parse_target(p, NULL, false)) &&
             jinja_expect_op(p, JINJA_ASSIGN, "=") && (value = jinja_parse_expr(p, true));
        nx_vec_push(&items, target);
        nx_vec_push(&items, value);
    }
    n->list = jinja_nodes_keep(p, &items);
    return ok && parse_block(p, end_with, &n->body) ? n : NULL;
}

/* {% generation %} marks what a model wrote; it is a call block, so what is set inside stays
 * inside and no loop around it can be left from there. */
static jnode *parse_generation(jinja_parser *p, int line)
{
    jnode *n = jinja_node_at(p, JN_SCOPE, line);
    int loops = p->loops;
    p->loops = 0;
    bool ok = parse_block(p, end_generation, &n->body);
    p->loops = loops;
    return ok ? n : NULL;
}

static jnode *parse_print(jinja_parser *p, int line)
{
    jnode *n = jinja_node_at(p, JN_OUTPUT, line);
    jinja_nodes items = {0};
    bool ok = true;
    while (ok && p->t->type != JT_BLOCK_END) {
        jnode *item = NULL;
        ok = (!items.n || jinja_expect_op(p, JINJA_COMMA, ",")) &&
             (item = jinja_parse_expr(p, true));
        nx_vec_push(&items, item);
    }
    n->list = jinja_nodes_keep(p, &items);
    return ok ? n : NULL;
}

static jnode *loop_control(jinja_parser *p, int line, jinja_kind kind)
{
    if (!p->loops)
        return jinja_parse_fail(p, "break or continue outside of a loop"), NULL;
    return jinja_node_at(p, kind, line);
}

static jnode *parse_break(jinja_parser *p, int line)
{
    return loop_control(p, line, JN_BREAK);
}

static jnode *parse_continue(jinja_parser *p, int line)
{
    return loop_control(p, line, JN_CONTINUE);
}

/* A block without inheritance is its body in a scope of its own. */
static jnode *parse_named_block(jinja_parser *p, int line)
{
    jnode *n = jinja_node_at(p, JN_SCOPE, line);
    uint32_t atom;
    int loops = p->loops;
    if (!parse_name(p, &n->name, &atom))
        return NULL;
    jinja_skip_name(p, "scoped");
    p->loops = 0;
    bool ok = parse_block(p, end_block, &n->body);
    p->loops = loops;
    if (ok && p->t->type == JT_NAME && p->t->len == n->name->len &&
        !memcmp(p->t->s, n->name->s, p->t->len))
        p->t++;
    return ok ? n : NULL;
}

/* Tags that load other templates: there are none to load, which is said when one is reached. */
static jnode *parse_loading(jinja_parser *p, int line)
{
    jnode *n = jinja_node_at(p, JN_UNSUPPORTED, line);
    n->name = jinja_parse_str(p, p->t[-1].s, p->t[-1].len);
    while (p->t->type != JT_BLOCK_END && p->t->type != JT_EOF)
        p->t++;
    return n;
}

static const struct {
    const char *name;
    statement_fn *parse;
} statements[] = {
    {"set", parse_set},
    {"for", parse_for},
    {"if", parse_if},
    {"macro", parse_macro},
    {"call", parse_call},
    {"filter", parse_filter},
    {"with", parse_with},
    {"generation", parse_generation},
    {"print", parse_print},
    {"break", parse_break},
    {"continue", parse_continue},
    {"block", parse_named_block},
    {"extends", parse_loading},
    {"include", parse_loading},
    {"import", parse_loading},
    {"from", parse_loading},
};

static jnode *parse_statement(jinja_parser *p)
{
    for (size_t i = 0; i < sizeof statements / sizeof *statements; i++)
        if (jinja_is_name(p, statements[i].name)) {
            int line = p->t++->line;
            if (!jinja_parse_enter(p))
                return NULL;
            jnode *n = statements[i].parse(p, line);
            p->depth--;
            return n;
        }
    nx_fail("[template] line %d: unknown tag '%.*s'", p->t->line,
            p->t->type == JT_NAME ? (int)p->t->len : 0, p->t->s ? p->t->s : "");
    return NULL;
}

static jnode *parse_data(jinja_parser *p)
{
    jnode *n = jinja_node(p, JN_CONST);
    n->value = jinja_of_str(jinja_parse_str(p, p->t->s, p->t->len));
    p->t++;
    return n;
}

static jnode *parse_variable(jinja_parser *p)
{
    p->t++;
    jnode *n = jinja_parse_tuple(p, true, NULL, false);
    if (n && p->t->type != JT_VAR_END)
        return jinja_parse_fail(p, "expected '}}'"), NULL;
    p->t++;
    return n;
}

/* Text and {{ }} up to the next tag are one output. */
static bool flush(jinja_parser *p, jinja_nodes *output, jinja_nodes *body)
{
    if (output->n) {
        jnode *n = jinja_node_at(p, JN_OUTPUT, output->at[0]->line);
        n->list = jinja_nodes_keep(p, output);
        nx_vec_push(body, n);
    }
    return true;
}

static bool parse_piece(jinja_parser *p, jinja_nodes *output, jinja_nodes *body)
{
    if (p->t->type != JT_BLOCK_BEGIN) {
        jnode *n = p->t->type == JT_DATA ? parse_data(p) : parse_variable(p);
        if (n)
            nx_vec_push(output, n);
        return n;
    }
    flush(p, output, body);
    p->t++;
    jnode *n = parse_statement(p);
    if (!n)
        return false;
    nx_vec_push(body, n);
    if (p->t->type != JT_BLOCK_END)
        return jinja_parse_fail(p, "expected '%}'");
    p->t++;
    return true;
}

bool jinja_parse_body(jinja_parser *p, const char *const *ends, jnode_list *out)
{
    jinja_nodes output = {0}, body = {0};
    bool ok = true;
    while (ok && p->t->type != JT_EOF) {
        if (p->t->type == JT_BLOCK_BEGIN) {
            p->t++;
            if (at_end(p, ends))
                break;
            p->t--;
        }
        ok = parse_piece(p, &output, &body);
    }
    flush(p, &output, &body);
    nx_vec_clear(&output);
    *out = jinja_nodes_keep(p, &body);
    return ok;
}

static bool parse_template(jinja_template *t, const char *source, size_t len)
{
    jinja_tokens tokens = {0};
    bool ok = jinja_lex(&t->arena, source, len, &tokens);
    if (ok) {
        jinja_parser p = {.tpl = t, .t = tokens.at};
        ok = jinja_parse_body(&p, NULL, &t->body) && jinja_check(t);
    }
    nx_vec_clear(&tokens);
    return ok;
}

jinja_template *jinja_parse(const char *source, size_t len)
{
    if (len > MAX_SOURCE)
        return nx_fail_null("[template] the template is larger than %d bytes", MAX_SOURCE);
    jinja_template *t = nx_calloc(1, sizeof *t);
    t->atom_loop = jinja_atom(t, "loop", 4);
    t->atom_caller = jinja_atom(t, "caller", 6);
    t->atom_varargs = jinja_atom(t, "varargs", 7);
    t->atom_kwargs = jinja_atom(t, "kwargs", 6);
    if (!parse_template(t, source, len)) {
        jinja_free(t);
        return NULL;
    }
    t->n_atoms = (uint32_t)t->names.n;
    return t;
}

void jinja_free(jinja_template *t)
{
    if (!t)
        return;
    nx_map_clear(&t->names);
    nx_map_clear(&t->texts);
    nx_arena_clear(&t->arena);
    free(t);
}

bool jinja_mentions(const jinja_template *t, const char *name)
{
    return nx_map_find(&t->names, name, strlen(name)) != NULL;
}

bool jinja_mentions_text(const jinja_template *t, const char *text)
{
    return nx_map_find(&t->texts, text, strlen(text)) != NULL;
}
