/*
 * grammar_schema.c: JSON schemas as grammars. What is produced always satisfies the schema; what of
 * a schema no automaton can hold is refused with its place, never ignored.
 *
 * Texts are a little less free than the schema: properties come in the schema's order, where nothing
 * is said of others there are none, and white space is short.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/json.h"
#include "runtime/generate/grammar.h"
#include "runtime/generate/grammar_regex.h"

enum { NESTING_MOST = 100, DIGITS_MOST = 15 };

typedef NX_VEC(expr) expr_vec;

typedef struct {
    expr_set *s;
    const json_t *root;
    nx_str path; /* where we are: "/properties/age" */
    int depth;
} schema;

static expr value(schema *c, const json_t *v);

static expr fail(schema *c, const char *what)
{
    nx_fail("[schema] %s: %s", c->path.len ? nx_str_cstr(&c->path) : "/", what);
    return -1;
}

/* ---- the parts of JSON ---- */

static expr text(schema *c, const char *t)
{
    return expr_text(c->s, t, strlen(t));
}

static expr call(schema *c, const char *name)
{
    return expr_call(c->s, name, strlen(name));
}

static expr range(schema *c, uint8_t lo, uint8_t hi)
{
    return expr_byte(c->s, lo, hi);
}

static void define(schema *c, const char *name, expr body)
{
    int index = expr_rule_index(c->s, name, strlen(name)); /* may move the rules */
    c->s->rules.at[index].body = body;
}

static expr hex_digit(schema *c)
{
    return EXPR_ALT(c->s, range(c, '0', '9'), range(c, 'a', 'f'), range(c, 'A', 'F'));
}

/* \uXXXX, but no half of a surrogate pair. */
static expr unicode_escape(schema *c)
{
    expr any = EXPR_ALT(c->s, range(c, '0', '9'), range(c, 'a', 'c'), range(c, 'e', 'f'),
                        range(c, 'A', 'C'), range(c, 'E', 'F'));
    expr first = EXPR_ALT(c->s, EXPR_SEQ(c->s, any, hex_digit(c)),
                          EXPR_SEQ(c->s, EXPR_ALT(c->s, range(c, 'd', 'd'), range(c, 'D', 'D')),
                                   range(c, '0', '7')));
    return EXPR_SEQ(c->s, range(c, 'u', 'u'), first, hex_digit(c), hex_digit(c));
}

static expr json_char(schema *c)
{
    static const char simple[] = "\"\\/bfnrt";
    code_ranges not = {0};
    expr_vec names = {0};
    nx_vec_push(&not, (code_range){0, 0x1F});
    nx_vec_push(&not, (code_range){'"', '"'});
    nx_vec_push(&not, (code_range){'\\', '\\'});
    nx_vec_push(&not, (code_range){0x7F, 0x7F});
    expr plain = expr_class(c->s, &not, true);
    for (const char *p = simple; *p; p++)
        nx_vec_push(&names, range(c, (uint8_t)*p, (uint8_t)*p));
    nx_vec_push(&names, unicode_escape(c));
    expr escaped = EXPR_SEQ(c->s, range(c, '\\', '\\'), expr_alt(c->s, names.at, (int)names.n));
    nx_vec_clear(&not);
    nx_vec_clear(&names);
    return EXPR_ALT(c->s, plain, escaped);
}

static expr digits(schema *c, int min, int max)
{
    return expr_repeat(c->s, range(c, '0', '9'), min, max);
}

static expr whole_number(schema *c)
{
    return EXPR_ALT(c->s, text(c, "0"), EXPR_SEQ(c->s, range(c, '1', '9'), digits(c, 0, DIGITS_MOST)));
}

static expr number(schema *c, bool negative)
{
    expr part = expr_optional(c->s, EXPR_SEQ(c->s, text(c, "."), digits(c, 1, DIGITS_MOST)));
    expr sign = expr_optional(c->s, EXPR_ALT(c->s, text(c, "+"), text(c, "-")));
    expr e = EXPR_SEQ(c->s, EXPR_ALT(c->s, text(c, "e"), text(c, "E")), sign, digits(c, 1, 2));
    expr body = EXPR_SEQ(c->s, whole_number(c), part, expr_optional(c->s, e));
    return negative ? EXPR_SEQ(c->s, expr_optional(c->s, text(c, "-")), body) : body;
}

/* Between the marks of objects and lists: nothing, a space, or a line end and an indentation. */
static expr space(schema *c)
{
    return call(c, " space");
}

static expr list_of(schema *c, const char *open, expr item, int min, int max, const char *close)
{
    expr next = EXPR_SEQ(c->s, space(c), text(c, ","), space(c), item);
    expr some = EXPR_SEQ(c->s, item, expr_repeat(c->s, next, min > 0 ? min - 1 : 0, max < 0 ? -1 : max - 1));
    if (max == 0)
        some = expr_empty(c->s);
    else if (min == 0)
        some = expr_optional(c->s, some);
    return EXPR_SEQ(c->s, text(c, open), space(c), some, space(c), text(c, close));
}

static expr member(schema *c, expr key, expr of)
{
    return EXPR_SEQ(c->s, key, space(c), text(c, ":"), space(c), of);
}

/* The rules that every schema may call; their names cannot be those of references. */
static void define_common(schema *c)
{
    expr blank = EXPR_ALT(c->s, text(c, " "),
                          EXPR_SEQ(c->s, text(c, "\n"), expr_repeat(c->s, text(c, " "), 0, 40)));
    define(c, " space", expr_optional(c->s, blank));
    define(c, " char", json_char(c));
    define(c, " string", EXPR_SEQ(c->s, text(c, "\""), expr_repeat(c->s, call(c, " char"), 0, -1),
                                  text(c, "\"")));
    define(c, " integer", EXPR_SEQ(c->s, expr_optional(c->s, text(c, "-")), whole_number(c)));
    define(c, " number", number(c, true));
    define(c, " boolean", EXPR_ALT(c->s, text(c, "true"), text(c, "false")));
    define(c, " null", text(c, "null"));
    define(c, " array", list_of(c, "[", call(c, " any"), 0, -1, "]"));
    define(c, " object", list_of(c, "{", member(c, call(c, " string"), call(c, " any")), 0, -1, "}"));
    define(c, " any", EXPR_ALT(c->s, call(c, " object"), call(c, " array"), call(c, " string"),
                               call(c, " number"), call(c, " boolean"), call(c, " null")));
}

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

/* Walks down, for messages: undone by leave. */
static size_t enter(schema *c, const char *part)
{
    size_t before = c->path.len;
    nx_str_printf(&c->path, "/%.100s", part);
    return before;
}

static expr leave(schema *c, size_t before, expr e)
{
    nx_str_truncate(&c->path, before);
    return e;
}

static expr constant(schema *c, const json_t *v)
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
        nx_vec_push(&parts, constant(c, each));
    expr e = parts.n ? expr_alt(c->s, parts.at, (int)parts.n) : fail(c, "'enum' has no values");
    nx_vec_clear(&parts);
    return e;
}

static bool limits(schema *c, const json_t *v, const char *least, const char *most, int *min, int *max)
{
    int64_t lo = nx_json_get_int(v, least, 0), hi = nx_json_get_int(v, most, -1);
    if (lo < 0 || lo > EXPR_REPEAT_MOST || hi > EXPR_REPEAT_MOST || (hi >= 0 && hi < lo))
        return fail(c, "the limits of its length make no sense, or are too large") >= 0;
    *min = (int)lo;
    *max = (int)hi;
    return true;
}

/* ---- texts ---- */

static const struct {
    const char *name, *pattern;
} formats[] = {
    {"date", "(19|20)\\d{2}-(0[1-9]|1[0-2])-(0[1-9]|1\\d|2[0-8])"},
    {"time", "([01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(\\.\\d{1,6})?(Z|[+-]([01]\\d|2[0-3]):[0-5]\\d)"},
    {"date-time", "(19|20)\\d{2}-(0[1-9]|1[0-2])-(0[1-9]|1\\d|2[0-8])T([01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d"
                  "(\\.\\d{1,6})?(Z|[+-]([01]\\d|2[0-3]):[0-5]\\d)"},
    {"duration", "P(\\d{1,4}D|\\d{1,4}W|T\\d{1,4}[HMS])"},
    {"uuid", "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"},
    {"email", "[a-zA-Z0-9_%+-]{1,64}(\\.[a-zA-Z0-9_%+-]{1,64}){0,4}@[a-z0-9]{1,63}(\\.[a-z0-9]{1,63}){1,4}"},
    {"hostname", "[a-z0-9]{1,63}(\\.[a-z0-9]{1,63}){0,6}"},
    {"ipv4", "((25[0-5]|2[0-4]\\d|1?\\d?\\d)\\.){3}(25[0-5]|2[0-4]\\d|1?\\d?\\d)"},
    {"ipv6", "([0-9a-f]{1,4}:){7}[0-9a-f]{1,4}"},
    {"uri", "https?://[a-z0-9-]{1,63}(\\.[a-z0-9-]{1,63}){0,6}(/[a-zA-Z0-9_.~%+-]{0,64}){0,8}"},
};

static expr quoted(schema *c, expr inside)
{
    return inside < 0 ? -1 : EXPR_SEQ(c->s, text(c, "\""), inside, text(c, "\""));
}

static expr string_value(schema *c, const json_t *v)
{
    const char *pattern = nx_json_get_str(v, "pattern", NULL), *format = nx_json_get_str(v, "format", NULL);
    int min, max;
    if (!limits(c, v, "minLength", "maxLength", &min, &max))
        return -1;
    bool counted = min > 0 || max >= 0;
    if (pattern && (counted || format))
        return fail(c, "'pattern' together with a length or a format cannot be enforced");
    if (pattern) {
        expr e = quoted(c, grammar_regex_expr(c->s, pattern, strlen(pattern), true, false));
        if (e < 0)
            nx_fail_in("[schema] %s", nx_str_cstr(&c->path));
        return e;
    }
    for (size_t i = 0; format && i < sizeof formats / sizeof *formats; i++)
        if (strcmp(formats[i].name, format) == 0)
            return counted ? fail(c, "'format' together with a length cannot be enforced")
                           : quoted(c, grammar_regex_expr(c->s, formats[i].pattern,
                                                          strlen(formats[i].pattern), true, true));
    if (format && strcmp(format, "password") != 0 && strcmp(format, "binary") != 0)
        return fail(c, "this 'format' cannot be enforced");
    return counted ? quoted(c, expr_repeat(c->s, call(c, " char"), min, max)) : call(c, " string");
}

/* ---- numbers ---- */

/* Decimal numbers of exactly n digits from lo to hi, which have n digits each. */
static expr same_length(schema *c, const char *lo, const char *hi, int n)
{
    if (n == 0)
        return expr_empty(c->s);
    if (lo[0] == hi[0])
        return EXPR_SEQ(c->s, range(c, (uint8_t)lo[0], (uint8_t)lo[0]), same_length(c, lo + 1, hi + 1, n - 1));
    expr_vec parts = {0};
    char nines[20], zeros[20];
    memset(nines, '9', sizeof nines);
    memset(zeros, '0', sizeof zeros);
    nx_vec_push(&parts, EXPR_SEQ(c->s, range(c, (uint8_t)lo[0], (uint8_t)lo[0]),
                                 same_length(c, lo + 1, nines, n - 1)));
    if (hi[0] - lo[0] > 1)
        nx_vec_push(&parts, EXPR_SEQ(c->s, range(c, (uint8_t)(lo[0] + 1), (uint8_t)(hi[0] - 1)),
                                     digits(c, n - 1, n - 1)));
    nx_vec_push(&parts, EXPR_SEQ(c->s, range(c, (uint8_t)hi[0], (uint8_t)hi[0]),
                                 same_length(c, zeros, hi + 1, n - 1)));
    expr e = expr_alt(c->s, parts.at, (int)parts.n);
    nx_vec_clear(&parts);
    return e;
}

/* 0 ≤ lo ≤ hi */
static void positive_range(schema *c, int64_t lo, int64_t hi, expr_vec *out)
{
    for (int n = 1; n <= 18; n++) {
        int64_t least = n == 1 ? 0 : (int64_t)pow(10, n - 1), most = (int64_t)pow(10, n) - 1;
        int64_t a = lo > least ? lo : least, b = hi < most ? hi : most;
        char from[24], to[24];
        if (a > b)
            continue;
        snprintf(from, sizeof from, "%lld", (long long)a);
        snprintf(to, sizeof to, "%lld", (long long)b);
        nx_vec_push(out, same_length(c, from, to, n));
    }
}

static const double INTEGER_MOST = 1e15;

/* One end of a range of integers: "minimum" 3, or "exclusiveMinimum" 3 as 4. Without: ±1e15. */
static bool integer_end(schema *c, const json_t *v, const char *key, const char *exclusive, int sign,
                        int64_t *out)
{
    const json_t *at = json_object_get(v, key), *over = json_object_get(v, exclusive);
    double x = sign * -INTEGER_MOST;
    if (json_is_number(at))
        x = sign > 0 ? ceil(json_number_value(at)) : floor(json_number_value(at));
    if (json_is_number(over)) {
        double y = json_number_value(over);
        y = sign > 0 ? floor(y) + 1 : ceil(y) - 1;
        x = (sign > 0 ? y > x : y < x) ? y : x;
    }
    if (fabs(x) > INTEGER_MOST)
        return fail(c, "its limits are too large to be enforced") >= 0;
    *out = (int64_t)x;
    return true;
}

static bool has_range(const json_t *v)
{
    return json_object_get(v, "minimum") || json_object_get(v, "maximum") ||
           json_object_get(v, "exclusiveMinimum") || json_object_get(v, "exclusiveMaximum");
}

static expr integer_value(schema *c, const json_t *v)
{
    int64_t lo, hi;
    if (!has_range(v))
        return call(c, " integer");
    if (!integer_end(c, v, "minimum", "exclusiveMinimum", 1, &lo) ||
        !integer_end(c, v, "maximum", "exclusiveMaximum", -1, &hi))
        return -1;
    if (lo > hi)
        return fail(c, "no integer lies between its limits");
    expr_vec parts = {0}, below = {0};
    if (hi >= 0)
        positive_range(c, lo > 0 ? lo : 0, hi, &parts);
    if (lo < 0) {
        positive_range(c, hi < 0 ? -hi : 1, -lo, &below);
        nx_vec_push(&parts, EXPR_SEQ(c->s, text(c, "-"), expr_alt(c->s, below.at, (int)below.n)));
    }
    expr e = expr_alt(c->s, parts.at, (int)parts.n);
    nx_vec_clear(&parts);
    nx_vec_clear(&below);
    return e;
}

/* Numbers between whole limits: a whole number inside, and any fraction that stays inside. */
static expr number_value(schema *c, const json_t *v)
{
    const json_t *at = json_object_get(v, "minimum");
    if (!has_range(v))
        return call(c, " number");
    if (json_object_size(v) && at && json_number_value(at) == 0 && !json_object_get(v, "maximum") &&
        !json_object_get(v, "exclusiveMinimum") && !json_object_get(v, "exclusiveMaximum"))
        return number(c, false);
    int64_t lo, hi;
    if (!integer_end(c, v, "minimum", "exclusiveMinimum", 1, &lo) ||
        !integer_end(c, v, "maximum", "exclusiveMaximum", -1, &hi))
        return -1;
    if (lo > hi)
        return fail(c, "limits of a number that have no integer between them cannot be enforced");
    expr_vec parts = {0}, inner = {0}, below = {0};
    expr fraction = EXPR_SEQ(c->s, text(c, "."), digits(c, 1, DIGITS_MOST));
    nx_vec_push(&parts, integer_value(c, v));
    if (hi > 0 && (lo > 0 ? lo : 0) <= hi - 1) { /* n.fff lies between n and n + 1 */
        positive_range(c, lo > 0 ? lo : 0, hi - 1, &inner);
        nx_vec_push(&parts, EXPR_SEQ(c->s, expr_alt(c->s, inner.at, (int)inner.n), fraction));
    }
    if (lo < 0 && (hi < 0 ? -hi : 0) <= -lo - 1) {
        positive_range(c, hi < 0 ? -hi : 0, -lo - 1, &below);
        nx_vec_push(&parts, EXPR_SEQ(c->s, text(c, "-"), expr_alt(c->s, below.at, (int)below.n), fraction));
    }
    expr e = expr_alt(c->s, parts.at, (int)parts.n);
    nx_vec_clear(&parts);
    nx_vec_clear(&inner);
    nx_vec_clear(&below);
    return e;
}

/* ---- lists ---- */

static expr array_value(schema *c, const json_t *v)
{
    const json_t *items = json_object_get(v, "items"), *prefix = json_object_get(v, "prefixItems");
    int min, max;
    if (!limits(c, v, "minItems", "maxItems", &min, &max))
        return -1;
    if (json_is_array(items)) { /* the older spelling of prefixItems */
        prefix = items;
        items = NULL;
    }
    if (!prefix) {
        size_t before = enter(c, "items");
        expr item = leave(c, before, items ? value(c, items) : call(c, " any"));
        return item < 0 ? -1 : list_of(c, "[", item, min, max, "]");
    }
    if (json_object_get(v, "minItems") || json_object_get(v, "maxItems") || json_array_size(prefix) == 0)
        return fail(c, "'prefixItems' together with a number of items cannot be enforced");
    expr_vec parts = {0};
    json_t *each;
    size_t i;
    nx_vec_push(&parts, text(c, "["));
    json_array_foreach((json_t *)(uintptr_t)prefix, i, each) {
        size_t before = enter(c, "prefixItems");
        expr item = leave(c, before, value(c, each));
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

static bool is_required(const json_t *required, const char *key)
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
    size_t before = enter(c, "additionalProperties");
    expr of = leave(c, before, json_is_object(extra) ? value(c, extra) : call(c, " any"));
    return of < 0 ? -1 : member(c, quoted(c, rest), of);
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
        size_t before = enter(c, "properties"), inner = enter(c, key);
        json_t *name = json_string(key);
        expr of = value(c, each);
        expr k = constant(c, name);
        json_decref(name);
        leave(c, inner, 0);
        leave(c, before, 0);
        if (of < 0)
            return false;
        nx_vec_push(out, (property){member(c, k, of), is_required(required, key)});
    }
    return true;
}

static expr object_value(schema *c, const json_t *v)
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
        size_t before = enter(c, part);
        e = leave(c, before, value(c, each));
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
        if (one && two && !json_equal(one, two) && is_required(json_object_get(a, "required"), key) &&
            is_required(json_object_get(b, "required"), key))
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
    expr e = ok ? value(c, merged) : fail(c, "'allOf' can join objects alone here");
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
    expr body = value(c, at);
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
        return string_value(c, v);
    if (strcmp(type, "integer") == 0)
        return integer_value(c, v);
    if (strcmp(type, "number") == 0)
        return number_value(c, v);
    if (strcmp(type, "boolean") == 0)
        return call(c, " boolean");
    if (strcmp(type, "null") == 0)
        return call(c, " null");
    if (strcmp(type, "array") == 0)
        return array_value(c, v);
    if (strcmp(type, "object") == 0)
        return object_value(c, v);
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
        return constant(c, at);
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

static expr value(schema *c, const json_t *v)
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
    define_common(&c);
    expr e = root ? value(&c, root) : call(&c, " object");
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
