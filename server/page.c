/* page.c: the page's files, Markdown, and the list of models as the page shows it. */
#include "server/page.h"

#include <cmark-gfm-core-extensions.h>
#include <cmark-gfm.h>
#include <stdlib.h>
#include <string.h>

#include "server/app.h"
#include "server/fields.h"

/* Nothing from elsewhere: what a model writes cannot make the browser ask another server. */
static const char policy[] = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' "
                             "data:; connect-src 'self'; form-action 'none'; frame-ancestors 'none'; "
                             "base-uri 'none'";

static const char *type_of(const char *path)
{
    static const char *const types[][2] = {{".html", "text/html; charset=utf-8"},
                                           {".css", "text/css; charset=utf-8"},
                                           {".js", "text/javascript; charset=utf-8"},
                                           {".svg", "image/svg+xml"}};
    const char *end = strrchr(path, '.');
    for (size_t i = 0; end && i < sizeof types / sizeof *types; i++)
        if (strcmp(end, types[i][0]) == 0)
            return types[i][1];
    return "application/octet-stream";
}

void page_get(app *a, app_call *c)
{
    const char *path = http_path(c->r);
    if (strcmp(path, "/") == 0)
        path = "/index.html";
    for (const page_file *f = page_files; f->path; f++)
        if (strcmp(f->path, path) == 0) {
            http_set_header(c->r, "Content-Security-Policy", policy);
            http_set_header(c->r, "Referrer-Policy", "no-referrer");
            http_set_header(c->r, "Cache-Control", "no-cache");
            http_reply_static(c->r, 200, type_of(path), f->bytes, *f->size);
            return;
        }
    app_fail(c->r, 404, NULL, "there is no page at %s", path);
}

/* ---- Markdown ---- */

static cmark_parser *markdown_parser(void)
{
    static const char *const extensions[] = {"table", "strikethrough", "autolink", "tasklist"};
    cmark_gfm_core_extensions_ensure_registered();
    cmark_parser *p = cmark_parser_new(CMARK_OPT_VALIDATE_UTF8);
    for (size_t i = 0; i < sizeof extensions / sizeof *extensions; i++) {
        cmark_syntax_extension *e = cmark_find_syntax_extension(extensions[i]);
        if (e)
            cmark_parser_attach_syntax_extension(p, e);
    }
    return p;
}

/* Raw HTML and dangerous links are left out (the library's safe mode). */
void page_markdown(app *a, app_call *c)
{
    static pthread_mutex_t registering = PTHREAD_MUTEX_INITIALIZER;
    fields f;
    fields_open(&f, c->body);
    const char *text = fields_str(&f, "text", "");
    pthread_mutex_lock(&registering);
    cmark_parser *p = markdown_parser();
    pthread_mutex_unlock(&registering);
    cmark_parser_feed(p, text, strlen(text));
    cmark_node *document = cmark_parser_finish(p);
    char *html = cmark_render_html(document, CMARK_OPT_VALIDATE_UTF8,
                                   cmark_parser_get_syntax_extensions(p));
    json_t *o = json_pack("{s:s}", "html", html);
    http_reply_json(c->r, 200, o);
    json_decref(o);
    free(html);
    cmark_node_free(document);
    cmark_parser_free(p);
    fields_close(&f);
}

/* ---- models ---- */

void page_models(app *a, app_call *c)
{
    host_catalog *k = host_catalog_get(a->host);
    const nexus_models *all = host_catalog_models(k);
    json_t *list = json_array();
    for (size_t i = 0; all && i < nexus_models_count(all); i++) {
        const nexus_models_entry *e = nexus_models_at(all, i);
        if (!host_usable(e) || e->duplicate_of[0])
            continue;
        json_array_append_new(
            list, json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:i, s:s}", "name", e->name, "kind",
                            e->kind, "format", e->format, "family", e->family, "quantization",
                            e->quantization, "parameters", (json_int_t)e->parameters, "bytes", (json_int_t)e->bytes,
                            "memory_bytes", (json_int_t)e->memory_bytes, "max_context", e->max_context,
                            "fits", e->fit));
    }
    json_t *o = json_pack("{s:o}", "models", list);
    http_reply_json(c->r, 200, o);
    json_decref(o);
    host_catalog_free(k);
}
