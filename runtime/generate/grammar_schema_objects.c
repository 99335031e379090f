/* grammar_schema_objects.c: schemas of lists and objects. */
#include <stdlib.h>

#include "runtime/generate/grammar_schema.h"

/* ---- lists ---- */

expr schema_array(schema *c, const json_t *v)
{
    const json_t *items = json_object_get(v, "items"), *prefix = json_object_get(v, "prefixItems");
    int min, max;
    if (!schema_limits(c, v, "minItems", "maxItems", &min, &max))
        return -1;
    if (json_is_array(items)) { /* the older spelling of prefixItems */
        prefix = items;
        items = NULL;
    }
    if (!prefix) {
        size_t before = schema_enter(c, "items");
        expr item = schema_leave(c, before, items ? schema_value(c, items) : call(c, " any"));
        return item < 0 ? -1 : schema_list_of(c, "[", item, min, max, "]");
    }
    if (json_object_get(v, "minItems") || json_object_get(v, "maxItems") || json_array_size(prefix) == 0)
        return fail(c, "'prefixItems' together with a number of items cannot be enforced");
    expr_vec parts = {0};
    json_t *each;
    size_t i;
    nx_vec_push(&parts, text(c, "["));
    json_array_foreach((json_t *)(uintptr_t)prefix, i, each) {
        size_t before = schema_enter(c, "prefixItems");
        expr item = schema_leave(c, before, schema_value(c, each));
        if (item < 0) {
            nx_vec_clear(&parts);
            return -1;
        }
        if (i)
            nx_vec_push(&parts, EXPR_SEQ(c->s, space(c), text(c, ",")));
        nx_vec_push(&parts, space(c));
        nx_vec_push(&parts, item);
    }
    nx_vec_push(&parts, space(c));
    nx_vec_push(&parts, text(c, "]"));
    expr e = expr_seq(c->s, parts.at, (int)parts.n);
    nx_vec_clear(&parts);
    return e;
}

/* ---- objects ---- */

bool schema_requires(const json_t *required, const char *key)
{
    json_t *each;
    size_t i;
    json_array_foreach((json_t *)(uintptr_t)required, i, each)
        if (json_is_string(each) && strcmp(json_string_value(each), key) == 0)
            return true;
    return false;
}

/* Keys that none of these begins with or is: the rest of a key whose first `depth` bytes are shared
 * by names[from … to), sorted. */
static expr other_key(schema *c, const char *const *names, size_t from, size_t to, size_t depth)
{
    expr_vec parts = {0};
    code_ranges not = {0};
    nx_vec_push(&not, (code_range){0, 0x1F});
    nx_vec_push(&not, (code_range){'"', '"'});
    nx_vec_push(&not, (code_range){'\\', '\\'});
    bool ends = false;
    for (size_t i = from; i < to;) {
        size_t next = i;
        uint8_t byte = (uint8_t)names[i][depth];
        while (next < to && (uint8_t)names[next][depth] == byte)
            next++;
        if (byte == 0) {
            ends = true;
        } else if (byte < 0x80) {
            nx_vec_push(&not, (code_range){byte, byte});
            nx_vec_push(&parts, EXPR_SEQ(c->s, range(c, byte, byte), other_key(c, names, i, next, depth + 1)));
        } else {
            nx_vec_push(&not, (code_range){0x80, 0x10FFFF}); /* names beyond ASCII: no other such start */
        }
        i = next;
    }
    /* A key may end here unless it is one of the names, or go its own way. */
    nx_vec_push(&parts, EXPR_SEQ(c->s, expr_class(c->s, &not, true),
                                 expr_repeat(c->s, call(c, " key char"), 0, -1)));
    if (!ends && depth > 0)
        nx_vec_push(&parts, expr_empty(c->s));
    expr e = expr_alt(c->s, parts.at, (int)parts.n);
    nx_vec_clear(&parts);
    nx_vec_clear(&not);
    return e;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* One property that the schema does not name. */
static expr other_member(schema *c, const json_t *properties, const json_t *extra)
{
    NX_VEC(const char *) names = {0};
    const char *key;
    json_t *each;
    code_ranges not = {0};
    json_object_foreach((json_t *)(uintptr_t)properties, key, each)
        nx_vec_push(&names, key);
    if (names.n)
        qsort(names.at, names.n, sizeof *names.at, by_text);
    nx_vec_push(&not, (code_range){0, 0x1F});
    nx_vec_push(&not, (code_range){'"', '"'});
    nx_vec_push(&not, (code_range){'\\', '\\'});
    define(c, " key char", expr_class(c->s, &not, true));
    expr rest = other_key(c, names.at, 0, names.n, 0);
    nx_vec_clear(&names);
    nx_vec_clear(&not);
    size_t before = schema_enter(c, "additionalProperties");
    expr of = schema_leave(c, before, json_is_object(extra) ? schema_value(c, extra) : call(c, " any"));
    return of < 0 ? -1 : member(c, schema_quoted(c, rest), of);
}

/* What follows property i, with a comma before the next where something came before. */
typedef struct {
    expr member;
    bool required;
} property;

typedef NX_VEC(property) property_vec;

/* The rest of an object from property i on. Each place has a rule, so that the whole grows with the
 * number of properties and not with its square. */
static expr rest_of(schema *c, const property_vec *p, size_t i, bool first, expr others, int id)
{
    expr comma = first ? expr_empty(c->s) : EXPR_SEQ(c->s, text(c, ","), space(c));
    if (i == p->n) {
        if (others < 0)
            return expr_empty(c->s);
        expr more = EXPR_SEQ(c->s, text(c, ","), space(c), others, space(c));
        return expr_optional(c->s, EXPR_SEQ(c->s, comma, others, space(c),
                                            expr_repeat(c->s, more, 0, -1)));
    }
    char after[48], skipped[48];
    snprintf(after, sizeof after, " object %d.%zu", id, i + 1);
    snprintf(skipped, sizeof skipped, " object %d.%zu first", id, i + 1);
    expr with = EXPR_SEQ(c->s, comma, p->at[i].member, space(c), call(c, after));
    if (p->at[i].required)
        return with;
    return EXPR_ALT(c->s, with, call(c, first ? skipped : after));
}

static expr object_of(schema *c, const property_vec *p, expr others)
{
    int id = (int)c->s->nodes.n; /* new for each object */
    for (size_t i = 1; i <= p->n; i++) {
        char name[48];
        snprintf(name, sizeof name, " object %d.%zu", id, i);
        define(c, name, rest_of(c, p, i, false, others, id));
        snprintf(name, sizeof name, " object %d.%zu first", id, i);
        define(c, name, rest_of(c, p, i, true, others, id));
    }
    return EXPR_SEQ(c->s, text(c, "{"), space(c), rest_of(c, p, 0, true, others, id), text(c, "}"));
}

static bool add_properties(schema *c, const json_t *properties, const json_t *required, property_vec *out)
{
    const char *key;
    json_t *each;
    json_object_foreach((json_t *)(uintptr_t)properties, key, each) {
        size_t before = schema_enter(c, "properties"), inner = schema_enter(c, key);
        json_t *name = json_string(key);
        expr of = schema_value(c, each);
        expr k = schema_constant(c, name);
        json_decref(name);
        schema_leave(c, inner, 0);
        schema_leave(c, before, 0);
        if (of < 0)
            return false;
        nx_vec_push(out, (property){member(c, k, of), schema_requires(required, key)});
    }
    return true;
}

expr schema_object(schema *c, const json_t *v)
{
    const json_t *properties = json_object_get(v, "properties");
    const json_t *required = json_object_get(v, "required"), *extra = json_object_get(v, "additionalProperties");
    json_t *each;
    size_t i;
    json_array_foreach((json_t *)(uintptr_t)required, i, each)
        if (json_is_string(each) && !json_object_get(properties, json_string_value(each)))
            return fail(c, "'required' names a property that is not described");
    bool open = json_is_object(extra) || json_is_true(extra);
    if (json_object_size(properties) == 0 && !extra)
        return call(c, " object");
    property_vec list = {0};
    expr others = -1, e = -1;
    if (add_properties(c, properties, required, &list) &&
        (!open || (others = other_member(c, properties, extra)) >= 0))
        e = object_of(c, &list, others);
    nx_vec_clear(&list);
    return e;
}
