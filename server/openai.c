/* openai.c: what OpenAI's endpoints share: reading conversations, usage, log-probabilities. */
#include "server/openai.h"

#include <string.h>

#include "base/error.h"

json_t *openai_usage(const gen_result *g, bool responses)
{
    const nexus_stats *s = &g->stats;
    json_int_t in = (json_int_t)s->prompt_tokens, out = (json_int_t)s->generated_tokens;
    json_int_t cached = (json_int_t)s->cached_tokens, thought = (json_int_t)g->reasoning_tokens;
    if (responses)
        return json_pack("{s:I, s:{s:I, s:i}, s:I, s:{s:I}, s:I}", "input_tokens", in,
                         "input_tokens_details", "cached_tokens", cached, "cache_write_tokens", 0,
                         "output_tokens", out,
                         "output_tokens_details", "reasoning_tokens", thought, "total_tokens",
                         in + out);
    return json_pack("{s:I, s:I, s:I, s:{s:I}, s:{s:I, s:I, s:I}}", "prompt_tokens", in, "completion_tokens",
                     out, "total_tokens", in + out, "prompt_tokens_details", "cached_tokens", cached,
                     "completion_tokens_details", "reasoning_tokens", thought,
                     "accepted_prediction_tokens", (json_int_t)s->accepted_tokens,
                     "rejected_prediction_tokens",
                     (json_int_t)(s->drafted_tokens - s->accepted_tokens));
}

static double rate(double count, double seconds)
{
    return seconds > 0 ? count / seconds : 0;
}

json_t *openai_timings(const gen_result *g)
{
    const nexus_stats *s = &g->stats;
    double read = (double)(s->prompt_tokens - s->cached_tokens), made = (double)s->generated_tokens;
    return json_pack("{s:I, s:I, s:f, s:f, s:I, s:f, s:f, s:I, s:I}", "cache_n", (json_int_t)s->cached_tokens,
                     "prompt_n", (json_int_t)(s->prompt_tokens - s->cached_tokens), "prompt_ms",
                     s->prefill_seconds * 1e3, "prompt_per_second", rate(read, s->prefill_seconds),
                     "predicted_n", (json_int_t)s->generated_tokens, "predicted_ms",
                     s->decode_seconds * 1e3, "predicted_per_second", rate(made, s->decode_seconds),
                     "draft_n", (json_int_t)s->drafted_tokens, "draft_n_accepted",
                     (json_int_t)s->accepted_tokens);
}

/* ---- conversations ---- */

/* A message's content: a text, null, or a list of parts, of which only texts can be read. */
static json_t *content_text(fields *f, const json_t *content, size_t index)
{
    json_t *each;
    size_t i;
    if (!content || json_is_null(content))
        return json_null();
    if (json_is_string(content))
        return json_incref((json_t *)(uintptr_t)content);
    nx_str text = {0};
    if (!json_is_array(content))
        fields_fault(f, "messages", "messages[%zu].content must be a text or a list of parts", index);
    json_array_foreach((json_t *)(uintptr_t)content, i, each) {
        const char *type = json_string_value(json_object_get(each, "type"));
        const char *piece = json_string_value(json_object_get(each, "text"));
        if (type && strcmp(type, "refusal") == 0)
            piece = json_string_value(json_object_get(each, "refusal"));
        if (!piece)
            fields_fault(f, "messages", "messages[%zu].content[%zu] is of type '%s': only texts can be "
                         "read by this model", index, i, type ? type : "?");
        else
            nx_str_puts(&text, piece);
    }
    json_t *joined = json_string(nx_str_cstr(&text));
    nx_str_clear(&text);
    return joined;
}

static bool known_role(const char *role)
{
    static const char *const roles[] = {"system", "developer", "user", "assistant", "tool", "function"};
    for (size_t i = 0; role && i < sizeof roles / sizeof *roles; i++)
        if (strcmp(role, roles[i]) == 0)
            return true;
    return false;
}

static json_t *read_messages(fields *f, const json_t *given)
{
    json_t *list = json_array(), *each;
    size_t i;
    if (given && json_array_size(given) == 0)
        fields_fault(f, "messages", "'messages' is empty: there is nothing to answer");
    json_array_foreach((json_t *)(uintptr_t)given, i, each) {
        const char *role = json_string_value(json_object_get(each, "role"));
        if (!json_is_object(each) || !known_role(role)) {
            fields_fault(f, "messages", "messages[%zu] needs a role: system, user, assistant or tool", i);
            break;
        }
        json_t *copy = json_copy(each);
        if (strcmp(role, "developer") == 0)
            json_object_set_new(copy, "role", json_string("system"));
        json_object_set_new(copy, "content", content_text(f, json_object_get(each, "content"), i));
        json_array_append_new(list, copy);
    }
    return list;
}

/* One call of this function, as a schema: {"name": …, "arguments": …}. */
static json_t *call_schema(const json_t *function)
{
    json_t *name = json_object_get(function, "name"), *parameters = json_object_get(function, "parameters");
    return json_pack("{s:s, s:{s:{s:O}, s:O}, s:[s, s]}", "type", "object", "properties", "name", "const",
                     name ? name : json_null(), "arguments", parameters ? parameters : json_true(),
                     "required", "name", "arguments");
}

void openai_force_call(gen_job *j, fields *f, const json_t *tools, const char *only)
{
    json_t *any = json_array(), *each;
    size_t i;
    json_array_foreach((json_t *)(uintptr_t)tools, i, each) {
        const json_t *function = json_object_get(each, "function");
        const char *name = json_string_value(json_object_get(function, "name"));
        if (name && (!only || strcmp(only, name) == 0))
            json_array_append_new(any, call_schema(function));
    }
    if (json_array_size(any) == 0) {
        fields_fault(f, "tool_choice", "'tool_choice' names a function that is not among the tools");
    } else {
        json_t *schema = json_pack("{s:O}", "anyOf", any);
        gen_set_schema(j, f, "tool_choice", schema);
        json_decref(schema);
    }
    json_decref(any);
}

/* tool_choice: "auto", "none", "required", or one function. A call that is forced is written as
 * JSON alone, in the form its schema gives it. */
static json_t *chosen_tools(gen_job *j, fields *f, const json_t *tools)
{
    const json_t *choice = fields_any(f, "tool_choice");
    const char *word = json_string_value(choice);
    if (!tools || json_array_size(tools) == 0 || (word && strcmp(word, "none") == 0))
        return NULL;
    if (word && strcmp(word, "auto") != 0 && strcmp(word, "required") != 0)
        fields_fault(f, "tool_choice", "'tool_choice' is auto, none, required or a function");
    const char *only = json_string_value(json_object_get(json_object_get(choice, "function"), "name"));
    if (choice && !word && !only)
        fields_fault(f, "tool_choice", "'tool_choice' is auto, none, required or a function");
    if (only || (word && strcmp(word, "required") == 0))
        openai_force_call(j, f, tools, only);
    json_t *each;
    size_t i;
    json_array_foreach((json_t *)(uintptr_t)tools, i, each) {
        const char *type = json_string_value(json_object_get(each, "type"));
        if (!type || strcmp(type, "function") != 0 ||
            !json_is_object(json_object_get(each, "function")))
            fields_fault(f, "tools", "tools[%zu] must be {\"type\": \"function\", \"function\": {…}}", i);
    }
    return json_incref((json_t *)(uintptr_t)tools);
}

/* Variables of the template: given as such, and thinking switched by the usual names. */
static void read_variables(json_t *chat, fields *f)
{
    json_t *kwargs = (json_t *)(uintptr_t)fields_object(f, "chat_template_kwargs"), *v;
    const char *key, *effort = fields_str(f, "reasoning_effort", NULL);
    json_object_foreach(kwargs, key, v)
        if (strcmp(key, "messages") != 0 && strcmp(key, "tools") != 0)
            json_object_set(chat, key, v);
    v = (json_t *)(uintptr_t)fields_any(f, "enable_thinking");
    if (json_is_boolean(v))
        json_object_set(chat, "enable_thinking", v);
    if (effort) {
        json_object_set_new(chat, "reasoning_effort", json_string(effort));
        json_object_set_new(chat, "enable_thinking", json_boolean(strcmp(effort, "none") != 0));
    }
}

void openai_read_chat(gen_job *j, fields *f)
{
    const json_t *messages = fields_array(f, "messages"), *tools = fields_array(f, "tools");
    if (!messages)
        fields_fault(f, "messages", "'messages' is needed: a list of {\"role\", \"content\"}");
    j->chat = json_object();
    json_object_set_new(j->chat, "messages", read_messages(f, messages));
    json_t *chosen = chosen_tools(j, f, tools);
    j->tools = chosen != NULL;
    if (chosen)
        json_object_set_new(j->chat, "tools", chosen);
    read_variables(j->chat, f);
    /* A last message of the assistant's is begun already: it is continued. */
    const json_t *last = json_array_get(messages, json_array_size(messages) - 1);
    const char *role = json_string_value(json_object_get(last, "role"));
    json_object_set_new(j->chat, "add_generation_prompt",
                        json_boolean(!role || strcmp(role, "assistant") != 0));
}

/* ---- log-probabilities ---- */

static json_t *token_entry(host_model *m, int32_t id, float logprob)
{
    size_t n;
    char *text = gen_token_text(m, id, &n);
    json_t *bytes = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(bytes, json_integer((unsigned char)text[i]));
    json_t *o = json_pack("{s:s, s:i, s:f, s:o}", "token", text, "id", (int)id, "logprob",
                          logprob < -9999 ? -9999.0 : (double)logprob, "bytes", bytes);
    nexus_free(text);
    return o;
}

json_t *openai_logprob(host_model *m, const nexus_piece *p)
{
    json_t *o = token_entry(m, p->id, p->logprob), *top = json_array();
    for (size_t i = 0; i < p->top_count; i++)
        if (p->top[i].id >= 0)
            json_array_append_new(top, token_entry(m, p->top[i].id, p->top[i].logprob));
    json_object_set_new(o, "top_logprobs", top);
    return o;
}
