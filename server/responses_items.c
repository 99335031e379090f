/* responses_items.c: items of OpenAI's responses (messages, calls, results, thinking) as a chat. */
#include "server/responses_items.h"

#include <string.h>

#include "base/str.h"

static const char *text_of(const json_t *o, const char *key)
{
    return json_string_value(json_object_get(o, key));
}

static bool is_type(const json_t *o, const char *type)
{
    const char *given = text_of(o, "type");
    return given && strcmp(given, type) == 0;
}

json_t *responses_items(fields *f, const json_t *input)
{
    if (json_is_string(input))
        return json_pack("[{s:s, s:s, s:[{s:s, s:O}]}]", "type", "message", "role", "user", "content",
                         "type", "input_text", "text", input);
    if (json_is_array(input))
        return json_copy((json_t *)(uintptr_t)input);
    if (input)
        fields_fault(f, "input", "'input' must be a text or a list of items");
    return NULL;
}

/* What an item is called in a fault. */
typedef struct {
    fields *f;
    const char *key;
    size_t index;
} place;

/* A text, or the texts of a list of parts, joined. New reference. */
static json_t *joined(const place *at, const json_t *content)
{
    json_t *each;
    size_t i;
    nx_str text = {0};
    if (json_is_string(content))
        return json_incref((json_t *)(uintptr_t)content);
    if (content && !json_is_array(content) && !json_is_null(content))
        fields_fault(at->f, at->key, "%s[%zu] must hold a text or a list of parts", at->key, at->index);
    json_array_foreach((json_t *)(uintptr_t)content, i, each) {
        const char *piece = text_of(each, is_type(each, "refusal") ? "refusal" : "text");
        const char *type = text_of(each, "type");
        if (!piece)
            fields_fault(at->f, at->key, "%s[%zu].content[%zu] is of type '%s': only texts can be read "
                         "by this model", at->key, at->index, i, type ? type : "?");
        else
            nx_str_puts(&text, piece);
    }
    json_t *o = json_string(nx_str_cstr(&text));
    nx_str_clear(&text);
    return o;
}

/* The assistant's message that calls and thinking join: the last one, or a new one. Borrowed. */
static json_t *assistant(json_t *messages)
{
    json_t *last = json_array_get(messages, json_array_size(messages) - 1);
    const char *role = text_of(last, "role");
    if (role && strcmp(role, "assistant") == 0)
        return last;
    last = json_pack("{s:s, s:s}", "role", "assistant", "content", "");
    json_array_append_new(messages, last);
    return last;
}

/* Thinking begins a message of its own, which the answer after it then joins. */
static void add_reasoning(const place *at, const json_t *item, json_t *messages)
{
    const json_t *content = json_object_get(item, "content");
    json_t *text = joined(at, json_array_size(content) ? content : json_object_get(item, "summary"));
    if (json_string_length(text))
        json_array_append_new(messages, json_pack("{s:s, s:s, s:O}", "role", "assistant", "content", "",
                                                  "reasoning_content", text));
    json_decref(text);
}

static bool is_empty_answer(const json_t *m)
{
    const char *role = text_of(m, "role");
    return role && strcmp(role, "assistant") == 0 && !json_object_get(m, "tool_calls") &&
           json_string_length(json_object_get(m, "content")) == 0;
}

static void add_message(const place *at, const json_t *item, json_t *messages)
{
    static const char *const roles[] = {"user", "assistant", "system", "developer"};
    const char *role = text_of(item, "role");
    bool known = false;
    for (size_t i = 0; role && i < sizeof roles / sizeof *roles; i++)
        known |= strcmp(role, roles[i]) == 0;
    if (!known) {
        fields_fault(at->f, at->key, "%s[%zu] needs a role: user, assistant, system or developer",
                     at->key, at->index);
        return;
    }
    json_t *content = joined(at, json_object_get(item, "content"));
    json_t *last = json_array_get(messages, json_array_size(messages) - 1);
    if (strcmp(role, "assistant") == 0 && is_empty_answer(last))
        json_object_set_new(last, "content", content);
    else
        json_array_append_new(messages, json_pack("{s:s, s:o}", "role", role, "content", content));
}

static void add_call(const place *at, const json_t *item, json_t *messages)
{
    const char *name = text_of(item, "name"), *id = text_of(item, "call_id");
    const char *arguments = text_of(item, "arguments");
    if (!name || !id || !arguments) {
        fields_fault(at->f, at->key, "%s[%zu] is a function_call and needs texts: name, call_id and "
                     "arguments", at->key, at->index);
        return;
    }
    json_t *m = assistant(messages), *calls = json_object_get(m, "tool_calls");
    if (!calls) {
        calls = json_array();
        json_object_set_new(m, "tool_calls", calls);
    }
    json_array_append_new(calls, json_pack("{s:s, s:s, s:{s:s, s:s}}", "id", id, "type", "function",
                                           "function", "name", name, "arguments", arguments));
}

static void add_result(const place *at, const json_t *item, json_t *messages)
{
    const char *id = text_of(item, "call_id");
    if (!id)
        fields_fault(at->f, at->key, "%s[%zu] is a function_call_output and needs a call_id", at->key,
                     at->index);
    else
        json_array_append_new(messages, json_pack("{s:s, s:s, s:o}", "role", "tool", "tool_call_id", id,
                                                  "content",
                                                  joined(at, json_object_get(item, "output"))));
}

void responses_messages(fields *f, const char *key, const json_t *items, json_t *messages)
{
    json_t *item;
    size_t i;
    json_array_foreach((json_t *)(uintptr_t)items, i, item) {
        const place at = {f, key, i};
        const char *type = text_of(item, "type");
        if (!json_is_object(item))
            fields_fault(f, key, "%s[%zu] must be an object", key, i);
        else if (!type || strcmp(type, "message") == 0)
            add_message(&at, item, messages);
        else if (strcmp(type, "function_call") == 0)
            add_call(&at, item, messages);
        else if (strcmp(type, "function_call_output") == 0)
            add_result(&at, item, messages);
        else if (strcmp(type, "reasoning") == 0)
            add_reasoning(&at, item, messages);
        else
            fields_fault(f, key, "%s[%zu] is of type '%s': message, function_call, "
                         "function_call_output and reasoning are read here", key, i, type);
    }
}

/* ---- tools ---- */

json_t *responses_tools(fields *f, const json_t *tools)
{
    json_t *list = tools ? json_array() : NULL, *each;
    size_t i;
    json_array_foreach((json_t *)(uintptr_t)tools, i, each) {
        const char *type = text_of(each, "type");
        if (!is_type(each, "function") || !text_of(each, "name")) {
            fields_fault(f, "tools", "tools[%zu] is of type '%s': only functions with a name can be "
                         "offered to this model", i, type ? type : "?");
            continue;
        }
        json_t *function = json_copy(each);
        json_object_del(function, "type");
        json_array_append_new(list, json_pack("{s:s, s:o}", "type", "function", "function", function));
    }
    return list;
}

json_t *responses_choice(fields *f, const json_t *choice)
{
    if (!choice || json_is_string(choice))
        return json_incref((json_t *)(uintptr_t)choice);
    const char *name = text_of(choice, "name");
    if (is_type(choice, "function") && name)
        return json_pack("{s:s, s:{s:s}}", "type", "function", "function", "name", name);
    fields_fault(f, "tool_choice", "'tool_choice' is auto, none, required or "
                 "{\"type\": \"function\", \"name\": …}");
    return NULL;
}
