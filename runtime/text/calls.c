#include "runtime/text/calls.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/json.h"
#include "base/str.h"

/* ---- what is known of the tools ---- */

static const json_t *tool_named(const json_t *tools, const char *name)
{
    size_t i;
    const json_t *tool;
    json_array_foreach(tools, i, tool)
    {
        const json_t *f = json_object_get(tool, "function");
        f = f ? f : tool;
        if (strcmp(nx_json_get_str(f, "name", ""), name) == 0)
            return f;
    }
    return NULL;
}

bool calls_known(const calls_reader *r, const char *name)
{
    if (r->tools)
        return tool_named(r->tools, name) != NULL;
    for (const char *p = name; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr("_.-", *p))
            return false;
    return *name != '\0';
}

static bool is_text(const calls_reader *r, const char *function, const char *key)
{
    const json_t *f = r->tools ? tool_named(r->tools, function) : NULL;
    const json_t *properties = nx_json_get(f ? json_object_get(f, "parameters") : NULL, "properties");
    const json_t *type = json_object_get(json_object_get(properties, key), "type");
    return json_is_string(type) && strcmp(json_string_value(type), "string") == 0;
}

json_t *calls_value(const calls_reader *r, const char *function, const char *key, const char *text,
                    size_t n)
{
    static const struct {
        const char *word;
        json_t *(*value)(void);
    } words[] = {{"True", json_true}, {"False", json_false}, {"None", json_null}};
    if (is_text(r, function, key))
        return json_stringn(text, n);
    json_t *value = json_loadb(text, n, JSON_DECODE_ANY, NULL);
    for (size_t i = 0; !value && i < sizeof words / sizeof *words; i++)
        if (strlen(words[i].word) == n && memcmp(words[i].word, text, n) == 0)
            value = words[i].value();
    return value ? value : json_stringn(text, n);
}

void calls_tell(calls_reader *r, const char *name, json_t *arguments)
{
    char *text = json_is_string(arguments) ? nx_strdup(json_string_value(arguments))
                                           : json_dumps(arguments, JSON_COMPACT | JSON_REAL_PRECISION(17));
    r->count++;
    r->fn(name, text ? text : "{}", r->user);
    free(text);
    json_decref(arguments);
}

/* ---- JSON ---- */

/* {"name": …, "arguments" or "parameters": …}, perhaps inside "function"; {"NAME": {…}} of a tool. */
static bool tell_object(calls_reader *r, json_t *call)
{
    json_t *inner = json_object_get(call, "function");
    if (json_is_object(inner))
        call = inner;
    const char *name = nx_json_get_str(call, "name", nx_json_get_str(call, "tool_name", NULL));
    json_t *arguments = json_object_get(call, "arguments");
    if (!arguments)
        arguments = json_object_get(call, "parameters");
    if (!name && json_object_size(call) == 1) {
        void *only = json_object_iter(call);
        if (r->tools && tool_named(r->tools, json_object_iter_key(only))) {
            name = json_object_iter_key(only);
            arguments = json_object_iter_value(only);
        }
    }
    if (!name || (arguments && !json_is_object(arguments) && !json_is_string(arguments)))
        return false;
    calls_tell(r, name, arguments ? json_incref(arguments) : json_object());
    return true;
}

static bool read_json(calls_reader *r, const char *text)
{
    json_t *o = json_loadb(text, strlen(text), JSON_DISABLE_EOF_CHECK, NULL), *each;
    size_t i, before = r->count;
    if (json_is_array(o))
        json_array_foreach(o, i, each)
            tell_object(r, each);
    else if (json_is_object(o))
        tell_object(r, o);
    json_decref(o);
    return r->count > before;
}

/* ---- a name, a mark, JSON ---- */

static const char *const separators[] = {"[ARGS]", "<｜tool▁sep｜>", "<|tool_call_argument_begin|>"};

/* The name that ends at `end`: "functions.NAME:0" is NAME, "NAME[CALL_ID]x" too. */
static char *name_before(const char *text, const char *end)
{
    static const char *const begins[] = {"[TOOL_CALLS]", "<|tool_call_begin|>", "<｜tool▁call▁begin｜>"};
    const char *from = text;
    for (size_t i = 0; i < sizeof begins / sizeof *begins; i++)
        for (const char *p = strstr(text, begins[i]); p && p < end; p = strstr(p + 1, begins[i]))
            from = p + strlen(begins[i]) > from ? p + strlen(begins[i]) : from;
    while (from < end && isspace((unsigned char)*from))
        from++;
    if ((size_t)(end - from) > 10 && memcmp(from, "functions.", 10) == 0)
        from += 10;
    size_t n = 0;
    while (from + n < end && (isalnum((unsigned char)from[n]) || strchr("_.-", from[n])))
        n++;
    return nx_strndup(from, n);
}

/* After <｜tool▁sep｜> DeepSeek's first models write the name, and the word "function" before it. */
static const char *later_name(const char *text, char **name)
{
    size_t n = strcspn(text, "\n`{<");
    if (strcmp(*name, "function") != 0 || !n)
        return text;
    free(*name);
    while (n && isspace((unsigned char)text[n - 1]))
        n--;
    *name = nx_strndup(text, n);
    return text + n;
}

static bool read_named_json(calls_reader *r, const char *text)
{
    size_t before = r->count;
    for (size_t i = 0; i < sizeof separators / sizeof *separators; i++) {
        const char *from = text;
        for (const char *p; (p = strstr(from, separators[i]));) {
            char *name = name_before(from, p);
            const char *body = later_name(p + strlen(separators[i]), &name);
            const char *open = strchr(body, '{');
            const char *next = strstr(body, separators[i]);
            json_t *o = open && (!next || open < next)
                            ? json_loadb(open, strlen(open), JSON_DISABLE_EOF_CHECK, NULL)
                            : NULL;
            if (*name && json_is_object(o))
                calls_tell(r, name, json_incref(o));
            json_decref(o);
            free(name);
            from = body;
        }
        if (r->count > before)
            return true;
    }
    return false;
}

size_t calls_read(const char *text, const json_t *tools, calls_fn fn, void *user)
{
    calls_reader r = {json_is_array(tools) ? tools : NULL, fn, user, 0};
    while (isspace((unsigned char)*text))
        text++;
    if (*text == '{' || *text == '[')
        read_json(&r, text);
    if (!r.count)
        read_named_json(&r, text);
    if (!r.count)
        calls_read_tags(&r, text);
    if (!r.count)
        calls_read_literals(&r, text);
    return r.count;
}
