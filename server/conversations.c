#include "server/conversations.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/os.h"
#include "base/str.h"

struct conversations {
    sqlite3 *db;
    pthread_mutex_t lock;
};

static bool failed_in(conversations *c, const char *what)
{
    return nx_fail("conversations cannot be %s: %s", what, sqlite3_errmsg(c->db));
}

/* Full synchronisation: an acknowledged change is on the disk. */
static const char schema[] = "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
                             "CREATE TABLE IF NOT EXISTS conversations(id TEXT PRIMARY KEY, "
                             "title TEXT NOT NULL, changed REAL NOT NULL, document TEXT NOT NULL)";

static bool open_at(conversations *c, const char *path)
{
    mode_t before = umask(0077); /* its owner's alone */
    int code = sqlite3_open(path, &c->db);
    umask(before);
    if (code == SQLITE_OK)
        sqlite3_busy_timeout(c->db, 5000);
    if (code == SQLITE_OK && sqlite3_exec(c->db, schema, NULL, NULL, NULL) == SQLITE_OK)
        return true;
    return nx_fail("%s cannot be opened: %s", path, sqlite3_errmsg(c->db));
}

conversations *conversations_open(void)
{
    nx_str folder = {0}, path = {0};
    conversations *c = nx_calloc(1, sizeof *c);
    pthread_mutex_init(&c->lock, NULL);
    bool ok = nx_os_path(&folder, NX_OS_DATA, NULL) && nx_os_mkdir_p(nx_str_cstr(&folder), 0700);
    nx_str_printf(&path, "%s/conversations.db", nx_str_cstr(&folder));
    ok = ok && open_at(c, nx_str_cstr(&path));
    nx_str_clear(&folder);
    nx_str_clear(&path);
    if (ok)
        return c;
    conversations_close(c);
    return NULL;
}

void conversations_close(conversations *c)
{
    if (!c)
        return;
    sqlite3_close(c->db);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

static sqlite3_stmt *prepare(conversations *c, const char *sql, const char *id)
{
    sqlite3_stmt *s = NULL;
    if (sqlite3_prepare_v2(c->db, sql, -1, &s, NULL) == SQLITE_OK && id)
        sqlite3_bind_text(s, 1, id, -1, SQLITE_TRANSIENT);
    return s;
}

json_t *conversations_list(conversations *c)
{
    json_t *list = json_array();
    pthread_mutex_lock(&c->lock);
    sqlite3_stmt *s = prepare(c, "SELECT id, title, changed FROM conversations ORDER BY changed DESC", NULL);
    int code = s ? SQLITE_ROW : SQLITE_ERROR;
    while (s && (code = sqlite3_step(s)) == SQLITE_ROW)
        json_array_append_new(list, json_pack("{s:s, s:s, s:f}", "id", sqlite3_column_text(s, 0), "title",
                                              sqlite3_column_text(s, 1), "changed",
                                              sqlite3_column_double(s, 2)));
    if (code != SQLITE_DONE) {
        failed_in(c, "listed");
        json_decref(list);
        list = NULL;
    }
    sqlite3_finalize(s);
    pthread_mutex_unlock(&c->lock);
    return list;
}

json_t *conversations_get(conversations *c, const char *id, bool *failed)
{
    json_t *o = NULL;
    pthread_mutex_lock(&c->lock);
    sqlite3_stmt *s = prepare(c, "SELECT document FROM conversations WHERE id = ?", id);
    int code = s ? sqlite3_step(s) : SQLITE_ERROR;
    if (code == SQLITE_ROW)
        o = json_loads((const char *)sqlite3_column_text(s, 0), 0, NULL);
    *failed = code != SQLITE_DONE && !o;
    if (*failed)
        failed_in(c, "read");
    sqlite3_finalize(s);
    pthread_mutex_unlock(&c->lock);
    return o;
}

bool conversations_put(conversations *c, const char *id, const char *title, double changed,
                       const json_t *document)
{
    char *text = json_dumps(document, JSON_COMPACT);
    pthread_mutex_lock(&c->lock);
    sqlite3_stmt *s = prepare(c, "INSERT OR REPLACE INTO conversations VALUES(?, ?, ?, ?)", id);
    bool ok = s != NULL;
    if (ok) {
        sqlite3_bind_text(s, 2, title, -1, SQLITE_TRANSIENT);
        sqlite3_bind_double(s, 3, changed);
        sqlite3_bind_text(s, 4, text, -1, SQLITE_TRANSIENT);
        ok = sqlite3_step(s) == SQLITE_DONE;
    }
    if (!ok)
        failed_in(c, "stored");
    sqlite3_finalize(s);
    pthread_mutex_unlock(&c->lock);
    free(text);
    return ok;
}

bool conversations_remove(conversations *c, const char *id, bool *found)
{
    pthread_mutex_lock(&c->lock);
    sqlite3_stmt *s = prepare(c, "DELETE FROM conversations WHERE id = ?", id);
    bool ok = s && sqlite3_step(s) == SQLITE_DONE;
    *found = ok && sqlite3_changes(c->db) > 0;
    if (!ok)
        failed_in(c, "removed");
    sqlite3_finalize(s);
    pthread_mutex_unlock(&c->lock);
    return ok;
}
