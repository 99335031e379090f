/* text.c: /tokenize, /detokenize, /apply-template. */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "server/fields.h"
#include "server/lib.h"
#include "server/openai.h"

typedef struct {
    fields f;
    host_model *m; /* NULL: the answer was a failure */
} text_call;

static bool begin(app *a, app_call *c, text_call *t)
{
    fields_open(&t->f, c->body);
    nexus_status status = host_acquire(a->host, fields_str(&t->f, "model", NULL), -1, 0, &t->m);
    if (!status)
        return true;
    app_fail(c->r, app_status(status), "model", "%s", nx_error_message());
    fields_close(&t->f);
    return false;
}

/* Sends o, or says what was wrong with the fields. */
static void end(app_call *c, text_call *t, json_t *o, nexus_status status)
{
    json_t *unknown = fields_unknown(&t->f);
    if (!fields_ok(&t->f)) {
        app_fail_fields(c->r, &t->f);
    } else if (status) {
        app_fail(c->r, status == NEXUS_ERROR ? 400 : app_status(status), NULL, "%s",
                 nx_error_message());
    } else {
        app_warn_unknown(c->r, o, unknown);
        http_reply_json(c->r, 200, o);
    }
    json_decref(unknown);
    json_decref(o);
    host_release(t->m);
    fields_close(&t->f);
}

void text_tokenize(app *a, app_call *c)
{
    text_call t;
    if (!begin(a, c, &t))
        return;
    const char *content = fields_str(&t.f, "content", "");
    bool special = fields_bool(&t.f, "add_special", false), parse = fields_bool(&t.f, "parse_special", true);
    bool pieces = fields_bool(&t.f, "with_pieces", false);
    int32_t *ids = NULL;
    size_t n = 0;
    nexus_status status = lib(
        nexus_tokenize(host_handle(t.m), content, strlen(content), special, parse, &ids, &n, NULL));
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) {
        size_t k;
        char *text = pieces ? gen_token_text(t.m, ids[i], &k) : NULL;
        json_array_append_new(list, pieces ? json_pack("{s:i, s:s}", "id", (int)ids[i], "piece", text)
                                           : json_integer(ids[i]));
        nexus_free(text);
    }
    nexus_free(ids);
    end(c, &t, json_pack("{s:o, s:I}", "tokens", list, "count", (json_int_t)n), status);
}

void text_detokenize(app *a, app_call *c)
{
    text_call t;
    if (!begin(a, c, &t))
        return;
    json_t *list = (json_t *)(uintptr_t)fields_array(&t.f, "tokens"), *each;
    size_t n = json_array_size(list), i;
    int32_t *ids = nx_malloc((n + 1) * sizeof *ids);
    json_array_foreach(list, i, each)
        ids[i] = json_is_integer(each) ? (int32_t)json_integer_value(each) : -1;
    char *text = NULL;
    size_t length = 0;
    if (!list)
        fields_fault(&t.f, "tokens", "'tokens' is needed: a list of token ids");
    nexus_status status = lib(nexus_detokenize(host_handle(t.m), ids, n, true, &text, &length));
    free(ids);
    json_t *o = json_pack("{s:s%}", "content", text ? text : "", length);
    nexus_free(text);
    end(c, &t, o, status);
}

void text_apply_template(app *a, app_call *c)
{
    text_call t;
    if (!begin(a, c, &t))
        return;
    gen_job j;
    gen_job_init(&j);
    openai_read_chat(&j, &t.f);
    char *prompt = NULL, *request = json_dumps(j.chat, JSON_COMPACT);
    nexus_status status = NEXUS_OK;
    if (fields_ok(&t.f))
        status = lib(nexus_render_json(host_handle(t.m), request, strlen(request), &prompt));
    free(request);
    json_t *o = json_pack("{s:s}", "prompt", prompt ? prompt : "");
    nexus_free(prompt);
    gen_job_clear(&j);
    end(c, &t, o, status);
}
