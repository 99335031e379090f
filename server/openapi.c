/* openapi.c: /openapi.json, made of the table of routes: what it describes is what is served. */
#include <string.h>

#include "server/app.h"

/* What ends with a star in the table ends with {name} here. */
static void put_path(const app_route *t, nx_str *out)
{
    size_t n = strlen(t->path);
    bool rest = t->path[n - 1] == '*';
    nx_str_add(out, t->path, rest ? n - 1 : n);
    if (rest)
        nx_str_puts(out, "{name}");
}

/* ---- bodies ---- */

static json_t *type_json(char letter)
{
    switch (letter) {
    case 's': return json_pack("{s:s}", "type", "string");
    case 'i': return json_pack("{s:s}", "type", "integer");
    case 'n': return json_pack("{s:s}", "type", "number");
    case 'b': return json_pack("{s:s}", "type", "boolean");
    case 'a': return json_pack("{s:s, s:{}}", "type", "array", "items");
    case 'o': return json_pack("{s:s}", "type", "object");
    default: return json_object();
    }
}

/* "model:s messages:a!" as a schema. */
static json_t *body_schema(const char *list)
{
    json_t *properties = json_object(), *required = json_array();
    for (const char *at = list; *at; at += strcspn(at, " ")) {
        at += strspn(at, " ");
        size_t n = strcspn(at, ":");
        json_object_setn_new(properties, at, n, type_json(at[n + 1]));
        if (at[n + 2] == '!')
            json_array_append_new(required, json_stringn(at, n));
    }
    json_t *o = json_pack("{s:s, s:o}", "type", "object", "properties", properties);
    if (json_array_size(required))
        json_object_set(o, "required", required);
    json_decref(required);
    return o;
}

/* ---- answers ---- */

static const char *type_of(const char *path)
{
    static const char *const types[][2] = {{"/metrics", "text/plain"}, {"/", "text/html"},
                                           {"/index.html", "text/html"}, {"/app.js", "text/javascript"},
                                           {"/highlight.js", "text/javascript"}, {"/style.css", "text/css"},
                                           {"/icon.svg", "image/svg+xml"}};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(path, types[i][0]) == 0)
            return types[i][1];
    return "application/json";
}

/* Streams are events, ollama's are lines. */
static json_t *content_json(const app_route *t)
{
    json_t *o = json_object();
    json_object_set_new(o, type_of(t->path), json_object());
    if (t->fields && strstr(t->fields, "stream:b"))
        json_object_set_new(o, strcmp(app_error_schema(t->path), "OllamaError") == 0 ? "application/x-ndjson"
                                                                                     : "text/event-stream",
                            json_object());
    return o;
}

static json_t *error_json(const app_route *t)
{
    nx_str at = {0};
    nx_str_printf(&at, "#/components/schemas/%s", app_error_schema(t->path));
    json_t *o = json_pack("{s:s, s:{s:{s:{s:s}}}}", "description", "what was wrong, and what to do",
                          "content", "application/json", "schema", "$ref", nx_str_cstr(&at));
    nx_str_clear(&at);
    return o;
}

/* ollama's delete and copy say nothing. */
static bool is_silent(const app_route *t)
{
    return strcmp(t->path, "/api/delete") == 0 || strcmp(t->path, "/api/copy") == 0;
}

static json_t *operation_json(const app_route *t)
{
    const char *colon = strchr(t->about, ':');
    json_t *done = json_pack("{s:s}", "description", "done");
    if (!is_silent(t))
        json_object_set_new(done, "content", content_json(t));
    json_t *o = json_pack("{s:s, s:[s%], s:{s:o, s:o}}", "summary", t->about, "tags",
                          colon ? t->about : "nexus", colon ? (size_t)(colon - t->about) : (size_t)5,
                          "responses", "200", done, "default", error_json(t));
    if (t->fields)
        json_object_set_new(o, "requestBody",
                            json_pack("{s:b, s:{s:{s:o}}}", "required", 1, "content", "application/json",
                                      "schema", body_schema(t->fields)));
    if (t->path[strlen(t->path) - 1] == '*')
        json_object_set_new(o, "parameters",
                            json_pack("[{s:s, s:s, s:b, s:{s:s, s:i}}]", "name", "name", "in", "path",
                                      "required", 1, "schema", "type", "string", "minLength", 1));
    if (t->open)
        json_object_set_new(o, "security", json_array());
    return o;
}

/* ---- the document ---- */

static json_t *components_json(void)
{
    static const char errors[] =
        "{\"Error\": {\"type\": \"object\", \"required\": [\"error\"], \"properties\": {\"error\": {\"type\": "
        "\"object\", \"required\": [\"message\", \"type\"], \"properties\": {\"message\": {\"type\": \"string\"}, "
        "\"type\": {\"type\": \"string\"}, \"param\": {\"type\": [\"string\", \"null\"]}, \"code\": {\"type\": "
        "\"integer\"}}}}}, "
        "\"AnthropicError\": {\"type\": \"object\", \"required\": [\"type\", \"error\"], \"properties\": {\"type\": "
        "{\"const\": \"error\"}, \"error\": {\"type\": \"object\", \"required\": [\"type\", \"message\"]}}}, "
        "\"OllamaError\": {\"type\": \"object\", \"required\": [\"error\"], \"properties\": {\"error\": {\"type\": "
        "\"string\"}}}}";
    return json_pack("{s:o, s:{s:{s:s, s:s}}}", "schemas", json_loads(errors, 0, NULL), "securitySchemes",
                     "key", "type", "http", "scheme", "bearer");
}

static json_t *paths_json(void)
{
    json_t *paths = json_object();
    for (const app_route *t = app_routes; t->method; t++) {
        nx_str path = {0};
        char method[8] = "";
        for (size_t i = 0; t->method[i] && i < sizeof method - 1; i++)
            method[i] = (char)(t->method[i] | 32);
        put_path(t, &path);
        json_t *at = json_object_get(paths, nx_str_cstr(&path));
        if (!at) {
            at = json_object();
            json_object_set_new(paths, nx_str_cstr(&path), at);
        }
        json_object_set_new(at, method, operation_json(t));
        nx_str_clear(&path);
    }
    return paths;
}

void status_openapi(app *a, app_call *c)
{
    json_t *o = json_pack("{s:s, s:{s:s, s:s}, s:o, s:o}", "openapi", "3.1.0", "info", "title", "nexus",
                          "version", nexus_version(), "paths", paths_json(), "components",
                          components_json());
    if (a->key)
        json_object_set_new(o, "security", json_pack("[{s:[]}]", "key"));
    http_reply_json(c->r, 200, o);
    json_decref(o);
}
