/* talks.c: the page's conversations over HTTP. */
#include <string.h>

#include "base/error.h"
#include "server/app.h"
#include "server/conversations.h"
#include "server/fields.h"

enum { ID_MOST = 64 };

/* Ids are the page's own: letters, digits and dashes. */
static bool id_ok(app_call *c)
{
    size_t n = strspn(c->rest, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-");
    if (n > 0 && n <= ID_MOST && !c->rest[n])
        return true;
    app_fail(c->r, 400, "id", "a conversation's id is of letters, digits and dashes, at most %d", ID_MOST);
    return false;
}

/* Opened when it is first needed: a server without a page in use keeps no file open. */
static conversations *store(app *a, app_call *c)
{
    pthread_mutex_lock(&a->talks_lock);
    if (!a->talks)
        a->talks = conversations_open();
    conversations *s = a->talks;
    pthread_mutex_unlock(&a->talks_lock);
    if (!s)
        app_fail(c->r, 500, NULL, "%s", nx_error_message());
    return s;
}

static void reply(app_call *c, json_t *o)
{
    http_reply_json(c->r, 200, o);
    json_decref(o);
}

void talks_list(app *a, app_call *c)
{
    conversations *s = store(a, c);
    json_t *list = s ? conversations_list(s) : NULL;
    if (list)
        reply(c, json_pack("{s:o}", "conversations", list));
    else if (s)
        app_fail(c->r, 500, NULL, "%s", nx_error_message());
}

void talks_get(app *a, app_call *c)
{
    conversations *s = id_ok(c) ? store(a, c) : NULL;
    bool failed = false;
    json_t *o = s ? conversations_get(s, c->rest, &failed) : NULL;
    if (o)
        reply(c, o);
    else if (s)
        app_fail(c->r, failed ? 500 : 404, "id", "%s",
                 failed ? nx_error_message() : "there is no such conversation");
}

void talks_put(app *a, app_call *c)
{
    fields f;
    fields_open(&f, c->body);
    const char *title = fields_str(&f, "title", "");
    double changed = fields_real(&f, "changed", 0);
    fields_array(&f, "messages");
    if (!fields_ok(&f)) {
        app_fail_fields(c->r, &f);
    } else if (id_ok(c)) {
        conversations *s = store(a, c);
        if (s && conversations_put(s, c->rest, title, changed, c->body))
            reply(c, json_pack("{s:s}", "id", c->rest));
        else if (s)
            app_fail(c->r, 500, NULL, "%s", nx_error_message());
    }
    fields_close(&f);
}

void talks_remove(app *a, app_call *c)
{
    conversations *s = id_ok(c) ? store(a, c) : NULL;
    bool found = false;
    if (!s)
        return;
    if (!conversations_remove(s, c->rest, &found))
        app_fail(c->r, 500, NULL, "%s", nx_error_message());
    else if (!found)
        app_fail(c->r, 404, "id", "there is no such conversation");
    else
        reply(c, json_pack("{s:s}", "removed", c->rest));
}
