/*
 * chat_template.c: the variables a chat template sees, rendering, and finding out what one can do.
 */
#include "runtime/text/chat_template.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "runtime/text/jinja.h"

struct chat_template {
    jinja_template *jinja;
    char *bos, *eos; /* NULL: the model has none */
    bool fallback;
};

static const char chatml[] =
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

chat_template *chat_template_new(const char *source, const char *bos, const char *eos)
{
    bool fallback = !source || !*source;
    const char *text = fallback ? chatml : source;
    jinja_template *jinja = jinja_parse(text, strlen(text));
    if (!jinja)
        return NULL;
    chat_template *t = nx_calloc(1, sizeof *t);
    t->jinja = jinja;
    t->fallback = fallback;
    t->bos = bos ? nx_strdup(bos) : NULL;
    t->eos = eos ? nx_strdup(eos) : NULL;
    return t;
}

void chat_template_free(chat_template *t)
{
    if (!t)
        return;
    jinja_free(t->jinja);
    free(t->bos);
    free(t->eos);
    free(t);
}

bool chat_template_is_fallback(const chat_template *t)
{
    return t->fallback;
}

bool chat_template_reads(const chat_template *t, const char *variable)
{
    return jinja_mentions(t->jinja, variable);
}

bool chat_template_supports_tools(const chat_template *t)
{
    return chat_template_reads(t, "tools");
}

/* --- rendering --- */

/* A message with its reasoning under each of the names that templates read, as transformers does
 * it; the message itself where it has none. A new reference. */
static json_t *with_reasoning(json_t *message)
{
    static const char *const names[] = {"reasoning_content", "thinking", "reasoning"};
    json_t *reasoning = NULL;
    for (int i = 0; i < 3 && (!reasoning || json_is_null(reasoning)); i++)
        reasoning = json_object_get(message, names[i]);
    if (!reasoning || json_is_null(reasoning))
        return json_incref(message);
    json_t *copy = json_object();
    json_object_set(copy, "thinking", reasoning);
    json_object_update(copy, message);
    json_object_set(copy, "reasoning_content", reasoning);
    return copy;
}

static json_t *prepared(json_t *messages)
{
    json_t *out = json_array(), *message;
    size_t i;
    if (!json_is_array(messages)) {
        json_decref(out);
        return nx_fail_null("[chat] the messages must be an array of objects");
    }
    json_array_foreach(messages, i, message)
    {
        if (!json_is_object(message)) {
            json_decref(out);
            return nx_fail_null("[chat] message %zu is no object with a role and a content", i);
        }
        json_array_append_new(out, with_reasoning(message));
    }
    return out;
}

/* What the template sees, under the names transformers gives it. */
static json_t *variables(const chat_template *t, const chat_request *r)
{
    json_t *messages = prepared(r->messages);
    if (!messages)
        return NULL;
    json_t *vars = json_object();
    if (t->bos)
        json_object_set_new(vars, "bos_token", json_string(t->bos));
    if (t->eos)
        json_object_set_new(vars, "eos_token", json_string(t->eos));
    json_object_set_new(vars, "documents", json_null());
    if (r->extra)
        json_object_update(vars, r->extra);
    json_object_set_new(vars, "messages", messages);
    json_object_set(vars, "tools", r->tools ? r->tools : json_null());
    json_object_set_new(vars, "add_generation_prompt", json_boolean(r->add_generation_prompt));
    return vars;
}

bool chat_template_render(const chat_template *t, const chat_request *r, nx_str *out)
{
    jinja_options o = jinja_options_default();
    o.has_now = r->has_now;
    o.now = r->now;
    if (r->extra && !json_is_object(r->extra))
        return nx_fail("[chat] the template's further variables must be an object");
    json_t *vars = variables(t, r);
    if (!vars)
        return false;
    bool ok = jinja_render(t->jinja, vars, &o, out);
    json_decref(vars);
    return ok;
}

/* --- what a template can do --- */

/* Renders a system and a user message, their contents as texts or as lists of one part. */
static bool shows_system(const chat_template *t, bool parts)
{
    static const char mark[] = "nexus-system-probe";
    nx_str out = {0};
    json_t *messages = parts ? json_pack("[{s:s,s:[{s:s,s:s}]},{s:s,s:[{s:s,s:s}]}]", "role",
                                         "system", "content", "type", "text", "text", mark, "role",
                                         "user", "content", "type", "text", "text", "hello")
                             : json_pack("[{s:s,s:s},{s:s,s:s}]", "role", "system", "content", mark,
                                         "role", "user", "content", "hello");
    chat_request r = {.messages = messages, .add_generation_prompt = true};
    bool shown = chat_template_render(t, &r, &out) && strstr(nx_str_cstr(&out), mark);
    nx_str_clear(&out);
    json_decref(messages);
    return shown;
}

bool chat_template_supports_system(const chat_template *t)
{
    bool shown = shows_system(t, false) || shows_system(t, true);
    nx_error_clear();
    return shown;
}

/* --- messages --- */

/* A tool call with its arguments as an object, or itself. A new reference. */
static json_t *with_parsed_arguments(json_t *call)
{
    json_t *function = json_object_get(call, "function");
    json_t *text = json_object_get(function, "arguments");
    json_t *arguments = NULL;
    if (json_is_string(text))
        arguments = json_loadb(json_string_value(text), json_string_length(text), 0, NULL);
    if (!json_is_object(arguments)) {
        json_decref(arguments);
        return json_incref(call);
    }
    json_t *copy = json_copy(call);
    function = json_copy(function);
    json_object_set_new(function, "arguments", arguments);
    json_object_set_new(copy, "function", function);
    return copy;
}

json_t *chat_messages_from_openai(json_t *messages)
{
    size_t i, k;
    json_t *message, *call;
    if (!json_is_array(messages))
        return nx_fail_null("[chat] the messages must be an array of objects");
    json_t *out = json_array();
    json_array_foreach(messages, i, message)
    {
        json_t *calls = json_object_get(message, "tool_calls");
        if (!json_is_object(message)) {
            json_decref(out);
            return nx_fail_null("[chat] message %zu is no object with a role and a content", i);
        }
        if (!json_is_array(calls)) {
            json_array_append(out, message);
            continue;
        }
        json_t *parsed = json_array(), *copy = json_copy(message);
        json_array_foreach(calls, k, call)
        {
            json_array_append_new(parsed, with_parsed_arguments(call));
        }
        json_object_set_new(copy, "tool_calls", parsed);
        json_array_append_new(out, copy);
    }
    return out;
}
