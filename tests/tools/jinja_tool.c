/*
 * jinja_tool: one JSON object a line on stdin, {"template", "context", "now"?}; for each, one line
 * on stdout, {"ok": true, "text"} or {"ok": false, "error"}. For tests/oracle/test_jinja_oracle.py.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "runtime/text/jinja.h"

static json_t *render(json_t *job)
{
    json_t *source = json_object_get(job, "template"), *now = json_object_get(job, "now");
    jinja_options o = jinja_options_default();
    nx_str out = {0};
    o.has_now = now != NULL;
    o.now = json_integer_value(now);
    jinja_template *t = jinja_parse(json_string_value(source), json_string_length(source));
    json_t *r;
    if (t && jinja_render(t, json_object_get(job, "context"), &o, &out))
        r = json_pack("{s:b, s:s%}", "ok", 1, "text", nx_str_cstr(&out), out.len);
    else
        r = json_pack("{s:b, s:s}", "ok", 0, "error", nx_error_message());
    jinja_free(t);
    nx_str_clear(&out);
    return r;
}

int main(void)
{
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    while ((n = getline(&line, &cap, stdin)) > 0) {
        json_error_t e;
        json_t *job = json_loadb(line, (size_t)n, JSON_ALLOW_NUL, &e);
        if (!job || !json_is_string(json_object_get(job, "template"))) {
            fprintf(stderr, "jinja_tool: not a job: %s\n", job ? "no template" : e.text);
            return 1;
        }
        json_t *r = render(job);
        char *text = r ? json_dumps(r, JSON_COMPACT) : NULL;
        puts(text ? text : "{\"ok\":false,\"error\":\"the result is not valid UTF-8\"}");
        fflush(stdout);
        free(text);
        json_decref(r);
        json_decref(job);
    }
    free(line);
    return 0;
}
