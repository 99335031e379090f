#include "server/responses_request.h"

#include <string.h>

#include "base/error.h"
#include "server/kept.h"
#include "server/responses_items.h"

static void read_format(responding *c, fields *f)
{
    const json_t *text = fields_object(f, "text"), *format = json_object_get(text, "format");
    const char *type = json_string_value(json_object_get(format, "type"));
    if (type && strcmp(type, "json_schema") == 0)
        gen_set_schema(&c->job, f, "text.format", json_object_get(format, "schema"));
    else if (type && strcmp(type, "json_object") == 0)
        gen_set_schema(&c->job, f, "text.format", json_true());
    else if (format && (!type || strcmp(type, "text") != 0))
        fields_fault(f, "text", "'text.format' is of type text, json_object or json_schema");
    gen_read_format(&c->job, f);
}

/* What further may be in the answer: the one thing that is told apart here is log-probabilities. */
static void read_include(responding *c, fields *f)
{
    const json_t *list = fields_array(f, "include");
    json_t *each;
    size_t i;
    json_array_foreach((json_t *)(uintptr_t)list, i, each) {
        const char *word = json_string_value(each);
        if (word && strcmp(word, "message.output_text.logprobs") == 0)
            c->logprobs = true;
        else if (!word || strcmp(word, "reasoning.encrypted_content") != 0) /* it comes in the clear */
            fields_fault(f, "include", "include[%zu] '%s' is nothing that can be included here", i,
                         word ? word : "?");
    }
    c->job.o.top_logprobs = (int)fields_int(f, "top_logprobs", 0, 0, 20);
    c->logprobs |= c->job.o.top_logprobs > 0;
    c->job.o.logprobs = c->logprobs;
}

/* What is a part of the interface and cannot be had here. */
static void refuse_others(fields *f)
{
    if (fields_bool(f, "background", false))
        fields_fault(f, "background", "'background' is not offered: stream the answer, or wait for it");
    if (fields_any(f, "conversation"))
        fields_fault(f, "conversation", "'conversation' is not offered: go on with previous_response_id");
    if (fields_any(f, "prompt"))
        fields_fault(f, "prompt", "'prompt' is not offered: there are no stored prompts here");
}

static void read_previous(responding *c, fields *f)
{
    kept_answer before;
    c->previous = fields_str(f, "previous_response_id", NULL);
    if (!c->previous) {
        c->context = json_array();
    } else if (kept_get(c->app->kept, c->previous, &before)) {
        c->context = json_deep_copy(before.messages); /* new items join its last message */
        kept_answer_clear(&before);
    } else {
        c->context = json_array();
        fields_fault(f, "previous_response_id", "there is no response '%s': it was not stored, or the "
                     "server was started anew", c->previous);
    }
}

/* The request as a chat, read as such. */
static void read_chat(responding *c, fields *f)
{
    const char *instructions = fields_str(f, "instructions", NULL);
    json_t *messages = json_array();
    if (instructions)
        json_array_append_new(messages, json_pack("{s:s, s:s}", "role", "system", "content",
                                                  instructions));
    json_array_extend(messages, c->context);
    if (json_array_size(messages) == 0)
        fields_fault(f, "input", "'input' is needed: a text or a list of items");
    json_t *as_chat = json_pack("{s:o}", "messages", messages);
    json_t *tools = responses_tools(f, fields_array(f, "tools"));
    json_t *choice = responses_choice(f, fields_any(f, "tool_choice"));
    if (tools)
        json_object_set_new(as_chat, "tools", tools);
    if (choice)
        json_object_set_new(as_chat, "tool_choice", choice);
    const json_t *reasoning = fields_object(f, "reasoning");
    json_object_set(as_chat, "reasoning_effort", json_object_get(reasoning, "effort"));
    json_t *variables = (json_t *)(uintptr_t)fields_object(f, "chat_template_kwargs");
    if (variables)
        json_object_set(as_chat, "chat_template_kwargs", variables);
    fields g;
    fields_open(&g, as_chat);
    if (fields_ok(f))
        openai_read_chat(&c->job, &g);
    if (!fields_ok(&g))
        fields_fault(f, g.key, "%s", g.fault);
    fields_close(&g);
    json_decref(as_chat);
}

/* Settings that the answer repeats, where they were given. */
json_t *responses_echo(const responding *c, const json_t *body)
{
    static const char *const keys[] = {"instructions", "max_output_tokens", "max_tool_calls", "metadata",
                                       "previous_response_id", "reasoning", "text", "tool_choice",
                                       "tools", "parallel_tool_calls", "user", "service_tier",
                                       "prompt_cache_key", "safety_identifier", "truncation", NULL};
    json_t *o = json_pack("{s:n, s:n, s:n, s:{}, s:n, s:{s:n, s:n}, s:{s:{s:s}}, s:s, s:[], s:b, s:s, s:b, "
                          "s:b, s:f, s:f, s:i}", "instructions", "max_output_tokens", "max_tool_calls",
                          "metadata", "previous_response_id", "reasoning", "effort", "summary", "text",
                          "format", "type", "text", "tool_choice", "auto", "tools",
                          "parallel_tool_calls", 1, "truncation", "disabled", "background", 0, "store",
                          c->store, "temperature", (double)c->job.o.temperature, "top_p",
                          (double)c->job.o.top_p, "top_logprobs", c->job.o.top_logprobs);
    for (const char *const *k = keys; *k; k++) {
        json_t *v = json_object_get(body, *k);
        if (v && !json_is_null(v))
            json_object_set(o, *k, v);
    }
    return o;
}

void responses_read(responding *c, fields *f)
{
    static const char *const harmless[] = {"user", "metadata", "service_tier", "parallel_tool_calls",
                                           "safety_identifier", "prompt_cache_key", "max_tool_calls",
                                           "prompt_cache_retention", "stream_options", NULL};
    gen_job *j = &c->job;
    j->model = fields_str(f, "model", NULL);
    j->ttl = fields_real(f, "ttl", -1);
    c->stream = fields_bool(f, "stream", false);
    c->store = fields_bool(f, "store", true);
    const char *truncation = fields_str(f, "truncation", "disabled");
    c->shorten = strcmp(truncation, "auto") == 0;
    if (!c->shorten && strcmp(truncation, "disabled") != 0)
        fields_fault(f, "truncation", "'truncation' is auto or disabled");
    read_previous(c, f);
    c->input = responses_items(f, fields_any(f, "input"));
    responses_messages(f, "input", c->input, c->context);
    gen_read_sampling(j, f);
    j->o.max_tokens = (int)fields_int(f, "max_output_tokens", 0, 1, INT32_MAX);
    read_include(c, f);
    read_chat(c, f);
    read_format(c, f);
    refuse_others(f);
    fields_skip(f, harmless);
}

/* ---- truncation ---- */

static bool is_role(const json_t *message, const char *role)
{
    const char *given = json_string_value(json_object_get(message, "role"));
    return given && strcmp(given, role) == 0;
}

/* Takes the oldest `turns` turns (a user's message and what follows it) out of the chat, never the
 * last one, nor what the system said. */
static size_t leave_out(json_t *messages, size_t turns)
{
    size_t out = 0, i = 0, begun = 0;
    for (size_t k = 0; k < json_array_size(messages); k++)
        begun += is_role(json_array_get(messages, k), "user");
    if (turns >= begun)
        turns = begun ? begun - 1 : 0;
    size_t passed = 0;
    while (turns && i < json_array_size(messages)) {
        json_t *m = json_array_get(messages, i);
        passed += is_role(m, "user");
        if (passed > turns)
            break;
        if (is_role(m, "system") || passed == 0) {
            i++;
            continue;
        }
        json_array_remove(messages, i);
        out++;
    }
    return out;
}

int responses_truncate(responding *c)
{
    json_t *messages = json_object_get(c->job.chat, "messages");
    size_t n, most, out = 1;
    int context;
    while (out) {
        int status = gen_count(c->app, &c->job, &n, &context);
        if (status)
            return status;
        most = (size_t)context - (size_t)context / 4;
        if (n <= most)
            break;
        size_t turns = json_array_size(messages) / 2 * (n - most) / n;
        out = leave_out(messages, turns ? turns : 1);
        c->left_out += out;
    }
    return 0;
}
