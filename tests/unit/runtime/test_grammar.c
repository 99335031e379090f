/* Grammars: what they let through and what not, in each notation; and what they refuse to be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/error.h"
#include "runtime/generate/grammar.h"

static grammar *made(grammar *g)
{
    if (!g)
        print_error("%s\n", nx_error_message());
    assert_non_null(g);
    return g;
}

static bool takes(const grammar *g, const char *text)
{
    matcher *m = matcher_new(g, NULL, 0);
    bool ok = matcher_bytes(m, text, strlen(text)) && matcher_may_end(m);
    matcher_free(m);
    return ok;
}

/* Texts that end with NULL: those it takes, then those it does not. */
static void check(grammar *g, const char *const *yes, const char *const *no)
{
    made(g);
    for (; *yes; yes++)
        if (!takes(g, *yes))
            fail_msg("not taken: %s", *yes);
    for (; *no; no++)
        if (takes(g, *no))
            fail_msg("taken: %s", *no);
    grammar_free(g);
}

#define TEXTS(...) (const char *const[]){__VA_ARGS__, NULL}
#define NONE ((const char *const[]){NULL})

static grammar *gbnf(const char *t)
{
    return grammar_from_gbnf(t, strlen(t));
}

static grammar *regex(const char *t)
{
    return grammar_from_regex(t, strlen(t));
}

static grammar *schema(const char *t)
{
    return grammar_from_schema(t, strlen(t));
}

static void notation_of_rules(void **state)
{
    check(gbnf("root ::= \"yes\" | \"no\" ws\nws ::= [ \\t]* # trailing\n"), TEXTS("yes", "no", "no \t"),
          TEXTS("", "ye", "yes ", "maybe"));
    check(gbnf("root ::= (\"a\" | \"b\" | \"c\"){2,3}\n"), TEXTS("ab", "cba"), TEXTS("a", "abca", "ad"));
    check(gbnf("root ::= expr\nexpr ::= term (\"+\" term)*\nterm ::= [0-9]+ | \"(\" expr \")\"\n"),
          TEXTS("1", "1+2", "(1+(2+3))+44"), TEXTS("", "1+", "((1)", "1)"));
    check(gbnf("root ::= \"a\"\n  | \"b\"\n  | other\nother ::=\n  \"c\"\n"), TEXTS("a", "b", "c"), TEXTS("d"));
    check(gbnf("root ::= [^a-z\\n]+ \"\\u00e9\"?"), TEXTS("ABC", "Ω!é", "日本"), TEXTS("a", "A\n", ""));
    check(gbnf("root ::= item root | \"\"\nitem ::= \"x\""), TEXTS("", "x", "xxxxxxxx"), TEXTS("y"));
    check(gbnf("root ::= ."), TEXTS("a", "é", "😀"), TEXTS("", "ab", "\xff", "\xc3"));
}

static void regular_expressions(void **state)
{
    check(regex("^[a-c]{2}\\d+$"), TEXTS("ab1", "cc123"), TEXTS("ab", "abc1", "ab1x"));
    check(regex("(foo|ba[rz])?"), TEXTS("", "foo", "bar", "baz"), TEXTS("ba", "foobar"));
    check(regex("\\w+@\\w+\\.(com|org)"), TEXTS("a_1@b.com"), TEXTS("a@b", "@b.com"));
    check(regex("[^\"\\\\]*?\\$"), TEXTS("$", "abc$"), TEXTS("\"$", "abc"));
    check(regex("a{0}b{2,}"), TEXTS("bb", "bbbbb"), TEXTS("b", "abb"));
    check(regex("[\\d\\-x]+|\\x41\\u0042"), TEXTS("3-x", "AB"), TEXTS("A", "y"));
    check(regex("\\S\\D"), TEXTS("ab", "1é"), TEXTS("a1", " b"));
}

static void json_schemas(void **state)
{
    check(schema("{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\"},\"age\":{\"type\":"
                 "\"integer\",\"minimum\":0,\"maximum\":130}},\"required\":[\"name\"],"
                 "\"additionalProperties\":false}"),
          TEXTS("{\"name\":\"x\"}", "{\"name\": \"a\\n\\u00e9\", \"age\": 130}", "{ \"name\":\"\" }",
                "{\n  \"name\": \"y\",\n  \"age\": 7\n}"),
          TEXTS("{}", "{\"age\":3}", "{\"name\":\"x\",\"age\":131}", "{\"name\":\"x\",\"age\":-1}",
                "{\"name\":\"x\",\"b\":1}", "{\"name\":\"a\nb\"}", "{\"name\":\"x\",}", "{\"name\":\"\\ud800\"}"));
    check(schema("{\"enum\":[\"a\",1,null,[true]]}"), TEXTS("\"a\"", "1", "null", "[true]"), TEXTS("a", "2"));
    check(schema("{\"type\":\"array\",\"items\":{\"type\":\"integer\",\"minimum\":-12,\"maximum\":305},"
                 "\"minItems\":1,\"maxItems\":3}"),
          TEXTS("[-12]", "[0, 305]", "[99,100,-9]"), TEXTS("[]", "[-13]", "[306]", "[1,2,3,4]", "[01]", "[-0]"));
    check(schema("{\"type\":\"string\",\"minLength\":2,\"maxLength\":3}"), TEXTS("\"ab\"", "\"é\\n😀\""),
          TEXTS("\"a\"", "\"abcd\""));
    check(schema("{\"type\":\"string\",\"pattern\":\"^[A-Z]\\\\d{2}$\"}"), TEXTS("\"A12\""), TEXTS("\"a12\"", "\"A1\""));
    check(schema("{\"type\":\"string\",\"pattern\":\"x\"}"), TEXTS("\"x\"", "\"axb\\n\""), TEXTS("\"a\""));
    check(schema("{\"type\":[\"string\",\"null\"]}"), TEXTS("null", "\"\""), TEXTS("1"));
    check(schema("{\"anyOf\":[{\"type\":\"boolean\"},{\"const\":\"x\"}]}"), TEXTS("true", "\"x\""), TEXTS("\"y\""));
    check(schema("{\"type\":\"number\",\"minimum\":0}"), TEXTS("0", "1.5", "2e3"), TEXTS("-1", "1."));
    check(schema("{\"type\":\"number\",\"minimum\":-1,\"maximum\":1}"), TEXTS("0", "-0.5", "0.99", "1", "-1"),
          TEXTS("1.5", "-1.1", "2"));
    check(schema("{\"type\":\"string\",\"format\":\"date\"}"), TEXTS("\"2026-02-28\""), TEXTS("\"2026-13-01\""));
    check(schema("{\"prefixItems\":[{\"type\":\"integer\"},{\"type\":\"string\"}]}"), TEXTS("[1, \"a\"]"),
          TEXTS("[1]", "[\"a\",1]"));
}

static void schemas_that_hold_themselves(void **state)
{
    check(schema("{\"$defs\":{\"tree\":{\"type\":\"object\",\"properties\":{\"v\":{\"type\":\"integer\"},"
                 "\"kids\":{\"type\":\"array\",\"items\":{\"$ref\":\"#/$defs/tree\"}}},"
                 "\"required\":[\"v\"]}},\"$ref\":\"#/$defs/tree\"}"),
          TEXTS("{\"v\":1}", "{\"v\":1,\"kids\":[{\"v\":2},{\"v\":3,\"kids\":[]}]}"),
          TEXTS("{\"kids\":[]}", "{\"v\":1,\"kids\":[{}]}"));
}

static void properties_that_are_not_named(void **state)
{
    check(schema("{\"type\":\"object\",\"properties\":{\"ab\":{\"type\":\"integer\"},\"ac\":{\"type\":"
                 "\"integer\"}},\"additionalProperties\":{\"type\":\"string\"}}"),
          TEXTS("{}", "{\"ab\":1}", "{\"ab\":1,\"ac\":2,\"zz\":\"s\"}", "{\"a\":\"x\"}", "{\"abc\":\"x\",\"q\":\"\"}",
                "{\"ac\":1,\"é\":\"x\"}"),
          TEXTS("{\"ab\":\"x\"}", "{\"zz\":1}", "{\"zz\":\"s\",\"ab\":1}", "{,\"ab\":1}"));
    check(schema("{\"type\":\"object\",\"additionalProperties\":{\"type\":\"integer\"}}"),
          TEXTS("{}", "{\"x\":1,\"y\":2}"), TEXTS("{\"x\":\"\"}", "{\"x\":1,}"));
}

static void any_json(void **state)
{
    check(grammar_any_json(), TEXTS("{}", "{\"a\":[1,2.5e-3,{\"b\":null}],\"c\":\"\\\"\"}"),
          TEXTS("[]", "1", "{\"a\"}", "{\"a\":01}"));
}

static void refused(grammar *g, const char *word)
{
    assert_null(g);
    if (!strstr(nx_error_message(), word))
        fail_msg("'%s' is not in: %s", word, nx_error_message());
}

static void what_cannot_be_is_refused(void **state)
{
    refused(gbnf("root ::= root \"a\" | \"b\""), "begins with itself");
    refused(gbnf("root ::= a\na ::= \"b\"? a"), "begins with itself");
    refused(gbnf("root ::= nothing"), "'nothing' is used and not given");
    refused(gbnf("start ::= \"a\""), "no rule called 'root'");
    refused(gbnf("root ::= \"a\nb"), "line 2");
    refused(gbnf("root ::= [a-"), "not closed");
    refused(gbnf("root ::= (((\"a\")"), "not closed");
    refused(gbnf("root ::= \"a\"{99999}"), "too large");
    refused(gbnf("root ::= ((((\"abcdefghij\"{5000}){5000}){5000}){5000})"), "too large");
    refused(gbnf("a ::= \"x\"\na ::= \"y\"\nroot ::= a"), "given twice");
    refused(regex("(?=a)b"), "look-around");
    refused(regex("(a)\\1"), "cannot be enforced");
    refused(regex("a)"), "too many");
    refused(regex("*a"), "nothing to repeat");
    refused(schema("{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"array\",\"uniqueItems\":true}}}"),
            "/properties/a");
    refused(schema("{\"not\":{}}"), "'not' cannot be enforced");
    refused(schema("{\"type\":\"strnig\"}"), "not known");
    refused(schema("{\"$ref\":\"#/nowhere\"}"), "names nothing");
    refused(schema("{\"$ref\":\"#\"}"), "begins with itself");
    refused(schema("{\"oneOf\":[{\"type\":\"string\"},{\"type\":\"string\",\"minLength\":2}]}"), "oneOf");
    refused(schema("{\"type\":\"integer\",\"minimum\":3,\"maximum\":2}"), "no integer");
    refused(schema("[]"), "schema");
}

static void integer_ranges_are_exact(void **state)
{
    const int ends[][2] = {{0, 9}, {3, 17}, {-5, 5}, {-120, -7}, {95, 1203}, {0, 0}, {1000, 1000}, {-99, 1001}};
    for (size_t k = 0; k < sizeof ends / sizeof *ends; k++) {
        char text[128];
        snprintf(text, sizeof text, "{\"type\":\"integer\",\"minimum\":%d,\"maximum\":%d}", ends[k][0], ends[k][1]);
        grammar *g = made(schema(text));
        for (int i = -1300; i <= 1300; i++) {
            snprintf(text, sizeof text, "%d", i);
            if (takes(g, text) != (i >= ends[k][0] && i <= ends[k][1]))
                fail_msg("%d in %d … %d", i, ends[k][0], ends[k][1]);
        }
        grammar_free(g);
    }
}

static void deep_texts_end(void **state)
{
    grammar *g = made(grammar_any_json());
    matcher *m = matcher_new(g, NULL, 0);
    bool ok = matcher_bytes(m, "{\"a\":", 5);
    for (int i = 0; i < 100000 && ok; i++)
        ok = matcher_bytes(m, "[", 1);
    assert_false(ok); /* nesting is bounded, and nothing overflows on the way */
    matcher_free(m);
    grammar_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(notation_of_rules),
        cmocka_unit_test(regular_expressions),
        cmocka_unit_test(json_schemas),
        cmocka_unit_test(schemas_that_hold_themselves),
        cmocka_unit_test(properties_that_are_not_named),
        cmocka_unit_test(any_json),
        cmocka_unit_test(what_cannot_be_is_refused),
        cmocka_unit_test(integer_ranges_are_exact),
        cmocka_unit_test(deep_texts_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
