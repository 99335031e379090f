/*
 * grammar_schema.c: JSON schemas as grammars. What is produced always satisfies the schema; what of
 * a schema no automaton can hold is refused with its place, never ignored.
 *
 * Texts are a little less free than the schema: properties come in the schema's order, where nothing
 * is said of others there are none, and white space is short.
 */
#include "runtime/generate/grammar_schema.h"

#include <stdlib.h>

#include "runtime/generate/grammar.h"

enum { NESTING_MOST = 100 };

/* ---- keywords ---- */

static bool is_any_of(const char *word, const char *const *list)
{
    for (; *list; list++)
        if (strcmp(word, *list) == 0)
            return true;
    return false;
}

/* Every keyword is enforced, or an annotation, or refused. */
static bool check_keywords(schema *c, const json_t *v)
{
    static const char *const known[] = {
        "type", "enum", "const", "properties", "required", "additionalProperties", "items", "prefixItems",
        "minItems", "maxItems", "minLength", "maxLength", "pattern", "format", "minimum", "maximum",
        "exclusiveMinimum", "exclusiveMaximum", "anyOf", "oneOf", "allOf", "$ref", "$defs", "definitions",
        "title", "description", "default", "examples", "example", "deprecated", "readOnly", "writeOnly",
        "$schema", "$id", "$comment", "$anchor", "nullable", "strict", "contentMediaType",
        "contentEncoding", NULL};
    const char *key;
    json_t *each;
    json_object_foreach((json_t *)(uintptr_t)v, key, each) {
        if (is_any_of(key, known) || (strcmp(key, "uniqueItems") == 0 && json_is_false(each)))
            continue;
        nx_str what = {0};
        nx_str_printf(&what, "'%.60s' cannot be enforced", key);
        fail(c, nx_str_cstr(&what));
        nx_str_clear(&what);
        return false;
    }
    return true;
}

expr schema_constant(schema *c, const json_t *v)
{
    char *t = json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(17));
    expr e = t ? text(c, t) : -1;
    free(t);
    return e;
}

static expr enumeration(schema *c, const json_t *list)
{
    expr_vec parts = {0};
    json_t *each;
    size_t i;
    json_array_foreach((json_t *)(uintptr_t)list, i, each)
        nx_vec_push(&parts, schema_constant(c, each));
    expr e = parts.n ? expr_alt(c->s, parts.at, (int)parts.n) : fail(c, "'enum' has no values");
    nx_vec_clear(&parts);
    return e;
}

/* ---- combinations ---- */

static expr any_of(schema *c, const json_t *list, const char *key)
{
    expr_vec parts = {0};
    json_t *each;
    size_t i;
    expr e = 0;
    json_array_foreach((json_t *)(uintptr_t)list, i, each) {
        char part[40];
        snprintf(part, sizeof part, "%s/%zu", key, i);
        size_t before = schema_enter(c, part);
        e = schema_leave(c, before, schema_value(c, each));
        if (e < 0)
            break;
        nx_vec_push(&parts, e);
    }
    if (e >= 0)
        e = parts.n ? expr_alt(c->s, parts.at, (int)parts.n) : fail(c, "it offers no alternative");
    nx_vec_clear(&parts);
    return e;
}

/* What tells alternatives apart: the first letter of their type, or a constant of a property. */
static bool same_kind(const json_t *a, const json_t *b)
{
    const char *x = nx_json_get_str(a, "type", NULL), *y = nx_json_get_str(b, "type", NULL), *key;
    if (!x || !y)
        return !(json_object_get(a, "const") && json_object_get(b, "const") &&
                 !json_equal(json_object_get(a, "const"), json_object_get(b, "const")));
    bool numbers = strcmp(x, "number") == 0 || strcmp(y, "number") == 0;
    if (strcmp(x, y) != 0)
        return numbers && (strcmp(x, "integer") == 0 || strcmp(y, "integer") == 0);
    json_t *each;
    const json_t *others = json_object_get(b, "properties");
    json_object_foreach(json_object_get(a, "properties"), key, each) {
        const json_t *one = json_object_get(each, "const");
        const json_t *two = json_object_get(json_object_get(others, key), "const");
        if (one && two && !json_equal(one, two) && schema_requires(json_object_get(a, "required"), key) &&
            schema_requires(json_object_get(b, "required"), key))
            return false;
    }
    return true;
}

/* Exactly one: enforced where no two alternatives can hold at once. */
static expr one_of(schema *c, const json_t *list)
{
    for (size_t i = 0; i < json_array_size(list); i++)
        for (size_t k = 0; k < i; k++)
            if (same_kind(json_array_get(list, i), json_array_get(list, k)))
                return fail(c, "'oneOf' whose alternatives can hold together cannot be enforced: use "
                               "'anyOf', or a property with a different 'const' in each");
    return any_of(c, list, "oneOf");
}

static const json_t *resolve(schema *c, const char *ref);

/* Objects that must hold together, as one object. */
static expr all_of(schema *c, const json_t *v)
{
    json_t *merged = json_deep_copy(v), *each, *list = json_object_get(v, "allOf");
    size_t i;
    bool ok = true;
    json_object_del(merged, "allOf");
    json_array_foreach(list, i, each) {
        const char *ref = nx_json_get_str(each, "$ref", NULL), *key;
        json_t *part = ref ? (json_t *)(uintptr_t)resolve(c, ref) : each, *inner;
        if (!part) {
            json_decref(merged);
            return -1;
        }
        json_object_foreach(part, key, inner) {
            json_t *have = json_object_get(merged, key);
            if (!have)
                json_object_set(merged, key, inner);
            else if (strcmp(key, "properties") == 0)
                json_object_update_missing(have, inner);
            else if (strcmp(key, "required") == 0)
                json_array_extend(have, inner);
            else
                ok = ok && json_equal(have, inner);
        }
    }
    expr e = ok ? schema_value(c, merged) : fail(c, "'allOf' can join objects alone here");
    json_decref(merged);
    return e;
}

/* "#", "#/$defs/name": the schema there; NULL with a message. */
static const json_t *resolve(schema *c, const char *ref)
{
    const json_t *at = c->root;
    if (ref[0] == '#' && !ref[1])
        return at;
    if (strncmp(ref, "#/", 2) == 0) {
        nx_str part = {0};
        for (const char *p = ref + 2; at; p++) {
            if (*p == '/' || !*p) {
                at = json_is_array(at) ? json_array_get(at, (size_t)strtoul(nx_str_cstr(&part), NULL, 10))
                                       : json_object_get(at, nx_str_cstr(&part));
                nx_str_truncate(&part, 0);
                if (!*p)
                    break;
            } else if (*p == '~' && (p[1] == '0' || p[1] == '1')) {
                nx_str_putc(&part, *++p == '0' ? '~' : '/');
            } else {
                nx_str_putc(&part, *p);
            }
        }
        nx_str_clear(&part);
        if (at)
            return at;
    }
    fail(c, "its '$ref' names nothing in this schema");
    return NULL;
}

/* A reference is a rule, so that schemas can hold themselves. */
static expr reference(schema *c, const char *ref)
{
    const json_t *at = resolve(c, ref);
    if (!at)
        return -1;
    bool known = nx_map_find(&c->s->names, ref, strlen(ref)) != NULL;
    expr e = expr_call(c->s, ref, strlen(ref));
    if (known)
        return e;
    size_t before = c->path.len;
    nx_str_truncate(&c->path, 0);
    nx_str_puts(&c->path, ref);
    expr body = schema_value(c, at);
    nx_str_truncate(&c->path, before < c->path.len ? before : c->path.len);
    if (body < 0)
        return -1;
    define(c, ref, body);
    return e;
}

/* ---- a schema ---- */

static expr typed_value(schema *c, const json_t *v, const char *type)
{
    if (strcmp(type, "string") == 0)
        return schema_string(c, v);
    if (strcmp(type, "integer") == 0)
        return schema_integer(c, v);
    if (strcmp(type, "number") == 0)
        return schema_number(c, v);
    if (strcmp(type, "boolean") == 0)
        return call(c, " boolean");
    if (strcmp(type, "null") == 0)
        return call(c, " null");
    if (strcmp(type, "array") == 0)
        return schema_array(c, v);
    if (strcmp(type, "object") == 0)
        return schema_object(c, v);
    return fail(c, "this 'type' is not known");
}

static expr several_types(schema *c, const json_t *v, const json_t *types)
{
    expr_vec parts = {0};
    json_t *each;
    size_t i;
    expr e = 0;
    json_array_foreach((json_t *)(uintptr_t)types, i, each) {
        e = json_is_string(each) ? typed_value(c, v, json_string_value(each)) : fail(c, "'type' is wrong");
        if (e < 0)
            break;
        nx_vec_push(&parts, e);
    }
    if (e >= 0)
        e = parts.n ? expr_alt(c->s, parts.at, (int)parts.n) : fail(c, "'type' names none");
    nx_vec_clear(&parts);
    return e;
}

/* The type where it is not said: by the keywords there are. */
static const char *implied_type(const json_t *v)
{
    static const struct {
        const char *key, *type;
    } hints[] = {{"properties", "object"}, {"required", "object"}, {"additionalProperties", "object"},
                 {"items", "array"}, {"prefixItems", "array"}, {"minItems", "array"},
                 {"maxItems", "array"}, {"pattern", "string"}, {"minLength", "string"},
                 {"maxLength", "string"}, {"format", "string"}, {"minimum", "number"},
                 {"maximum", "number"}, {"exclusiveMinimum", "number"}, {"exclusiveMaximum", "number"}};
    for (size_t i = 0; i < sizeof hints / sizeof *hints; i++)
        if (json_object_get(v, hints[i].key))
            return hints[i].type;
    return NULL;
}

static expr object_schema(schema *c, const json_t *v)
{
    const json_t *type = json_object_get(v, "type"), *at;
    const char *ref = nx_json_get_str(v, "$ref", NULL);
    if (!check_keywords(c, v))
        return -1;
    if (ref)
        return reference(c, ref);
    if ((at = json_object_get(v, "const")))
        return schema_constant(c, at);
    if ((at = json_object_get(v, "enum")))
        return enumeration(c, at);
    if ((at = json_object_get(v, "anyOf")))
        return any_of(c, at, "anyOf");
    if ((at = json_object_get(v, "oneOf")))
        return one_of(c, at);
    if (json_object_get(v, "allOf"))
        return all_of(c, v);
    expr e;
    if (json_is_array(type))
        e = several_types(c, v, type);
    else if (json_is_string(type) || implied_type(v))
        e = typed_value(c, v, json_is_string(type) ? json_string_value(type) : implied_type(v));
    else
        e = call(c, " any");
    if (e >= 0 && json_is_true(json_object_get(v, "nullable")))
        e = EXPR_ALT(c->s, e, call(c, " null"));
    return e;
}

expr schema_value(schema *c, const json_t *v)
{
    if (c->s->too_large)
        return fail(c, "the schema is too large");
    if (c->depth >= NESTING_MOST)
        return fail(c, "it is nested too deeply");
    if (json_is_true(v))
        return call(c, " any");
    if (!json_is_object(v))
        return fail(c, json_is_false(v) ? "nothing satisfies 'false'" : "a schema is an object");
    c->depth++;
    expr e = object_schema(c, v);
    c->depth--;
    return e;
}

static grammar *from_json(const json_t *root)
{
    expr_set set = {0};
    schema c = {.s = &set, .root = root};
    schema_define_common(&c);
    expr e = root ? schema_value(&c, root) : call(&c, " object");
    nx_str_clear(&c.path);
    if (e < 0) {
        expr_set_clear(&set);
        return NULL;
    }
    return grammar_compile(&set, e);
}

grammar *grammar_from_schema(const char *json, size_t length)
{
    json_t *root = nx_json_parse(json, length, "schema");
    grammar *g = root ? from_json(root) : NULL;
    json_decref(root);
    return g;
}

grammar *grammar_any_json(void)
{
    return from_json(NULL);
}
