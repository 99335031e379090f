#include "cli/conversation.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/json.h"
#include "base/os.h"

static const char *const roles[] = {"system", "user", "assistant"};
enum { N_ROLES = sizeof roles / sizeof *roles };

void conversation_clear(conversation *c)
{
    for (size_t i = 0; i < c->messages.n; i++)
        free((char *)c->messages.at[i].content);
    c->messages.n = c->first = 0;
}

void conversation_free(conversation *c)
{
    conversation_clear(c);
    nx_vec_clear(&c->messages);
    free(c->system);
    c->system = NULL;
}

void conversation_set_system(conversation *c, const char *text)
{
    char *copy = text ? nx_strdup(text) : NULL;
    free(c->system);
    c->system = copy;
}

/* The constant of that name, or NULL. */
static const char *role_named(const char *name)
{
    for (int i = 0; i < N_ROLES; i++)
        if (strcmp(roles[i], name) == 0)
            return roles[i];
    return NULL;
}

void conversation_add(conversation *c, const char *role, const char *content)
{
    nexus_message m = {role_named(role), nx_strdup(content)};
    NX_BUG_IF(!m.role);
    nx_vec_push(&c->messages, m);
}

char *conversation_pop(conversation *c)
{
    NX_BUG_IF(c->messages.n == 0);
    return (char *)nx_vec_pop(&c->messages).content;
}

const char *conversation_last_role(const conversation *c)
{
    return c->messages.n ? nx_vec_last(&c->messages).role : "";
}

void conversation_shown(const conversation *c, message_list *out)
{
    out->n = 0;
    if (c->system)
        nx_vec_push(out, (nexus_message){"system", c->system});
    for (size_t i = c->first; i < c->messages.n; i++)
        nx_vec_push(out, c->messages.at[i]);
}

bool conversation_leave_out(conversation *c)
{
    for (size_t i = c->first + 1; i < c->messages.n; i++)
        if (strcmp(c->messages.at[i].role, "user") == 0) {
            c->first = i;
            return true;
        }
    return false;
}

/* ---- the file ---- */

static void put_message(json_t *list, const char *role, const char *content)
{
    json_array_append_new(list, json_pack("{s:s, s:s}", "role", role, "content", content));
}

bool conversation_save(const conversation *c, const char *model, const char *path)
{
    json_t *list = json_array();
    if (c->system)
        put_message(list, "system", c->system);
    for (size_t i = 0; i < c->messages.n; i++)
        put_message(list, c->messages.at[i].role, c->messages.at[i].content);
    json_t *root = json_pack("{s:s, s:o}", "model", model, "messages", list);
    char *text = root ? json_dumps(root, JSON_INDENT(2)) : NULL;
    bool ok = text ? nx_os_write_file(path, text, strlen(text))
                   : nx_fail("[%s] the conversation cannot be written as JSON", path);
    free(text);
    json_decref(root);
    return ok;
}

static bool take_message(conversation *c, const json_t *m, size_t number, const char *path)
{
    const char *role = nx_json_get_str(m, "role", NULL);
    const char *content = nx_json_get_str(m, "content", NULL);
    if (!role || !content)
        return nx_fail("[%s] message %zu has no \"role\" and \"content\" that are texts", path, number);
    if (!role_named(role))
        return nx_fail("[%s] message %zu has the role '%s': only system, user and assistant can be "
                       "read", path, number, role);
    if (number == 1 && strcmp(role, "system") == 0)
        conversation_set_system(c, content);
    else
        conversation_add(c, role, content);
    return true;
}

static bool take_all(conversation *c, const json_t *root, const char *path)
{
    const json_t *list = json_object_get(root, "messages");
    if (!json_is_array(list))
        return nx_fail("[%s] this is no conversation: there is no list \"messages\"", path);
    for (size_t i = 0; i < json_array_size(list); i++)
        if (!take_message(c, json_array_get(list, i), i + 1, path))
            return false;
    return true;
}

bool conversation_load(conversation *c, const char *path, char **model)
{
    conversation loaded = {0};
    if (!nx_os_is_file(path))
        return nx_fail("[%s] there is no such file", path);
    json_t *root = nx_json_load_file(path);
    bool ok = root && take_all(&loaded, root, path);
    if (ok) {
        const char *name = nx_json_get_str(root, "model", NULL);
        *model = name ? nx_strdup(name) : NULL;
        conversation_free(c);
        *c = loaded;
    } else {
        conversation_free(&loaded);
    }
    json_decref(root);
    return ok;
}
