/*
 * texts.c: the interface's functions between text and tokens: tokenizer and chat template.
 */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/utf8.h"
#include "nexus/nexus.h"
#include "runtime/handles.h"
#include "runtime/text/jinja.h"

nexus_status nexus_tokenize(nexus_model *m, const char *text, size_t length, bool add_special,
                            bool parse_special, int32_t **ids, size_t *count, size_t *replaced)
{
    tok_ids out = {0};
    unsigned flags = (add_special ? TOK_ADD_SPECIAL : 0) | (parse_special ? TOK_PARSE_SPECIAL : 0);
    if (!tok_encode(m->tokenizer, text, length, flags, &out, replaced)) {
        nx_vec_clear(&out);
        return NEXUS_ERROR;
    }
    *ids = out.at ? out.at : nx_malloc(sizeof **ids);
    *count = out.n;
    return NEXUS_OK;
}

nexus_status nexus_detokenize(nexus_model *m, const int32_t *ids, size_t count, bool special,
                              char **text, size_t *length)
{
    nx_str out = {0};
    if (!tok_decode(m->tokenizer, ids, count, special, &out)) {
        nx_str_clear(&out);
        return NEXUS_ERROR_ARGUMENT;
    }
    *length = out.len;
    *text = nx_str_take(&out);
    return NEXUS_OK;
}

nexus_status nexus_render(nexus_model *m, const nexus_message *messages, size_t count,
                          char **prompt)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        json_t *content = json_string(messages[i].content);
        if (!content) { /* invalid UTF-8 */
            nx_str clean = {0};
            nx_utf8_replace(&clean, messages[i].content, strlen(messages[i].content));
            content = json_string(nx_str_cstr(&clean));
            nx_str_clear(&clean);
        }
        json_t *message = json_pack("{s:s, s:o}", "role", messages[i].role, "content", content);
        json_array_append_new(list, message);
    }
    nx_str out = {0};
    chat_request request = {.messages = list, .add_generation_prompt = true};
    bool ok = chat_template_render(m->chat, &request, &out);
    json_decref(list);
    if (ok)
        *prompt = nx_str_take(&out);
    nx_str_clear(&out);
    return ok ? NEXUS_OK : NEXUS_ERROR;
}

nexus_status nexus_render_json(nexus_model *m, const char *request, size_t length, char **prompt)
{
    json_t *o = nx_json_parse(request, length, "request");
    if (!o)
        return NEXUS_ERROR_ARGUMENT;
    json_t *given = json_object_get(o, "messages"), *tools = json_object_get(o, "tools");
    json_t *messages = chat_messages_from_openai(given), *extra = json_copy(o);
    nexus_status status = NEXUS_ERROR_ARGUMENT;
    if (messages) {
        for (size_t i = 0; i < 3; i++)
            json_object_del(extra, (const char *[]){"messages", "tools", "add_generation_prompt"}[i]);
        nx_str out = {0};
        chat_request r = {.messages = messages, .tools = json_is_array(tools) ? tools : NULL,
                          .extra = extra,
                          .add_generation_prompt = nx_json_get_bool(o, "add_generation_prompt", true)};
        if (chat_template_render(m->chat, &r, &out)) {
            *prompt = nx_str_take(&out);
            status = NEXUS_OK;
        }
        nx_str_clear(&out);
    }
    json_decref(messages);
    json_decref(extra);
    json_decref(o);
    return status;
}

/* ---- templates with variables as they are ---------------------------------------------------- */

static nexus_status render(const char *source, size_t length, json_t *variables, char **out)
{
    nx_str text = {0};
    jinja_template *t = jinja_parse(source, length);
    bool ok = t && jinja_render(t, variables, NULL, &text);
    if (ok)
        *out = nx_str_take(&text);
    jinja_free(t);
    nx_str_clear(&text);
    return ok ? NEXUS_OK : NEXUS_ERROR;
}

static json_t *variables_of(const char *text, size_t length)
{
    json_t *o = nx_json_parse(text, length, "conversation");
    if (!o || json_is_object(o))
        return o;
    json_decref(o);
    return nx_fail_null("[conversation] the variables of a template must be a JSON object: "
                        "{\"messages\": [...]}");
}

nexus_status nexus_render_template(const char *source, size_t source_length, const char *variables,
                                   size_t length, char **text)
{
    json_t *o = variables_of(variables, length);
    nexus_status status = o ? render(source, source_length, o, text) : NEXUS_ERROR_ARGUMENT;
    json_decref(o);
    return status;
}

static void set_token(const nexus_model *m, json_t *variables, const char *name, int32_t id)
{
    nx_slice s = id < 0 ? (nx_slice){NULL, 0} : tok_token(m->tokenizer, id);
    if (s.data && !json_object_get(variables, name))
        json_object_set_new(variables, name, json_stringn(s.data, s.len));
}

nexus_status nexus_render_variables(nexus_model *m, const char *variables, size_t length, char **text)
{
    if (!m->template_text) {
        nx_fail("[%s] brings no chat template: name a template file", m->package.name);
        return NEXUS_ERROR_UNSUPPORTED;
    }
    json_t *o = variables_of(variables, length);
    if (!o)
        return NEXUS_ERROR_ARGUMENT;
    set_token(m, o, "bos_token", tok_bos(m->tokenizer));
    set_token(m, o, "eos_token", tok_eos(m->tokenizer));
    nexus_status status = render(m->template_text, strlen(m->template_text), o, text);
    json_decref(o);
    return status;
}
