/* grammar_schema_parts.c: JSON's own grammar, and schemas of texts and numbers. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "runtime/generate/grammar_regex.h"
#include "runtime/generate/grammar_schema.h"

enum { DIGITS_MOST = 15 };

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
expr schema_list_of(schema *c, const char *open, expr item, int min, int max, const char *close)
{
    expr next = EXPR_SEQ(c->s, space(c), text(c, ","), space(c), item);
    expr some = EXPR_SEQ(c->s, item, expr_repeat(c->s, next, min > 0 ? min - 1 : 0, max < 0 ? -1 : max - 1));
    if (max == 0)
        some = expr_empty(c->s);
    else if (min == 0)
        some = expr_optional(c->s, some);
    return EXPR_SEQ(c->s, text(c, open), space(c), some, space(c), text(c, close));
}

void schema_define_common(schema *c)
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
    define(c, " array", schema_list_of(c, "[", call(c, " any"), 0, -1, "]"));
    define(c, " object", schema_list_of(c, "{", member(c, call(c, " string"), call(c, " any")), 0, -1, "}"));
    define(c, " any", EXPR_ALT(c->s, call(c, " object"), call(c, " array"), call(c, " string"),
                               call(c, " number"), call(c, " boolean"), call(c, " null")));
}

bool schema_limits(schema *c, const json_t *v, const char *least, const char *most, int *min, int *max)
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

expr schema_quoted(schema *c, expr inside)
{
    return inside < 0 ? -1 : EXPR_SEQ(c->s, text(c, "\""), inside, text(c, "\""));
}

expr schema_string(schema *c, const json_t *v)
{
    const char *pattern = nx_json_get_str(v, "pattern", NULL), *format = nx_json_get_str(v, "format", NULL);
    int min, max;
    if (!schema_limits(c, v, "minLength", "maxLength", &min, &max))
        return -1;
    bool counted = min > 0 || max >= 0;
    if (pattern && (counted || format))
        return fail(c, "'pattern' together with a length or a format cannot be enforced");
    if (pattern) {
        expr e = schema_quoted(c, grammar_regex_expr(c->s, pattern, strlen(pattern), true, false));
        if (e < 0)
            nx_fail_in("[schema] %s", nx_str_cstr(&c->path));
        return e;
    }
    for (size_t i = 0; format && i < sizeof formats / sizeof *formats; i++)
        if (strcmp(formats[i].name, format) == 0)
            return counted ? fail(c, "'format' together with a length cannot be enforced")
                           : schema_quoted(c, grammar_regex_expr(c->s, formats[i].pattern,
                                                          strlen(formats[i].pattern), true, true));
    if (format && strcmp(format, "password") != 0 && strcmp(format, "binary") != 0)
        return fail(c, "this 'format' cannot be enforced");
    return counted ? schema_quoted(c, expr_repeat(c->s, call(c, " char"), min, max)) : call(c, " string");
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

expr schema_integer(schema *c, const json_t *v)
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
expr schema_number(schema *c, const json_t *v)
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
    nx_vec_push(&parts, schema_integer(c, v));
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
