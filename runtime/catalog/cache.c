#include "runtime/catalog/cache.h"

#include <sqlite3.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "base/os.h"

struct catalog_cache {
    sqlite3 *db;
    sqlite3_stmt *get, *put;
    enum { NO_TRANSACTION, READING, WRITING } state;
};

/* The members that are remembered, a column each. */
typedef enum { COLUMN_INT, COLUMN_BOOL, COLUMN_BIG, COLUMN_TEXT } column_type;
#define FACT(member, type) {#member, type, offsetof(catalog_facts, member), sizeof((catalog_facts *)0)->member}
#define SHAPE(member)                                                                      \
    {#member, COLUMN_INT, offsetof(catalog_facts, shape) + offsetof(memory_shape, member), \
     sizeof(int)}
#define SHAPE_BIG(member)                                                                  \
    {#member, COLUMN_BIG, offsetof(catalog_facts, shape) + offsetof(memory_shape, member), \
     sizeof(uint64_t)}
static const struct {
    const char *name;
    column_type type;
    size_t offset, size;
} columns[] = {
    FACT(format, COLUMN_TEXT), FACT(kind, COLUMN_TEXT), FACT(family, COLUMN_TEXT),
    FACT(quantization, COLUMN_TEXT), FACT(status, COLUMN_TEXT), FACT(reason, COLUMN_TEXT),
    FACT(base, COLUMN_TEXT), FACT(parameters, COLUMN_BIG), FACT(weight_bytes, COLUMN_BIG),
    FACT(matrix_parameters, COLUMN_BIG), FACT(fingerprint, COLUMN_BIG), FACT(sample, COLUMN_BIG),
    FACT(max_context, COLUMN_INT), FACT(chat, COLUMN_BOOL), SHAPE(n_layers), SHAPE(n_kv_heads),
    SHAPE(head_dim), SHAPE(hidden_size), SHAPE(intermediate_size), SHAPE(n_heads), SHAPE(vocab_size),
    SHAPE(window), SHAPE_BIG(file_bytes), SHAPE_BIG(turned_bytes), SHAPE_BIG(cache_row), SHAPE_BIG(window_row),
    SHAPE_BIG(state_bytes), SHAPE_BIG(cache_blocks), SHAPE_BIG(window_blocks),
};
enum { N_COLUMNS = sizeof columns / sizeof *columns };

/* Another layout, program version or set of families makes old findings worthless. */
static uint64_t edition(void)
{
    uint64_t h = facts_hash(N_COLUMNS, NEXUS_VERSION, strlen(NEXUS_VERSION));
    for (int i = 0; i < N_COLUMNS; i++)
        h = facts_hash(h, columns[i].name, strlen(columns[i].name));
    const char *names = model_arch_names();
    h = facts_hash(h ^ FACTS_EDITION, names, strlen(names));
    return h & 0x7FFFFFFF;
}

static bool run(sqlite3 *db, const char *sql)
{
    return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK;
}

static bool prepare(catalog_cache *c)
{
    nx_str list = {0}, holes = {0}, sql = {0};
    for (int i = 0; i < N_COLUMNS; i++) {
        nx_str_printf(&list, ", %s", columns[i].name);
        nx_str_puts(&holes, ", ?");
    }
    nx_str_printf(&sql, "CREATE TABLE IF NOT EXISTS found (path BLOB PRIMARY KEY, signature%s) "
                  "WITHOUT ROWID", nx_str_cstr(&list));
    bool ok = run(c->db, nx_str_cstr(&sql));
    nx_str_truncate(&sql, 0);
    nx_str_printf(&sql, "SELECT %s FROM found WHERE path = ? AND signature = ?",
                  nx_str_cstr(&list) + 2);
    ok = ok && sqlite3_prepare_v2(c->db, nx_str_cstr(&sql), -1, &c->get, NULL) == SQLITE_OK;
    nx_str_truncate(&sql, 0);
    nx_str_printf(&sql, "INSERT OR REPLACE INTO found (path, signature%s) VALUES (?, ?%s)",
                  nx_str_cstr(&list), nx_str_cstr(&holes));
    ok = ok && sqlite3_prepare_v2(c->db, nx_str_cstr(&sql), -1, &c->put, NULL) == SQLITE_OK;
    nx_str_clear(&list);
    nx_str_clear(&holes);
    nx_str_clear(&sql);
    return ok;
}

static int64_t edition_of(sqlite3 *db)
{
    sqlite3_stmt *s = NULL;
    int64_t v = -1;
    if (sqlite3_prepare_v2(db, "PRAGMA user_version", -1, &s, NULL) == SQLITE_OK &&
        sqlite3_step(s) == SQLITE_ROW)
        v = sqlite3_column_int64(s, 0);
    sqlite3_finalize(s);
    return v;
}

/* Opens and makes the table; an old edition's goes first. */
static bool open_file(catalog_cache *c, const char *path)
{
    char pragma[64];
    if (sqlite3_open_v2(path, &c->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL) != SQLITE_OK)
        return false;
    sqlite3_busy_timeout(c->db, 300);
    run(c->db, "PRAGMA synchronous = OFF");
    int64_t was = edition_of(c->db);
    if (was < 0)
        return false;
    if ((uint64_t)was == edition())
        return prepare(c);
    snprintf(pragma, sizeof pragma, "PRAGMA user_version = %llu", (unsigned long long)edition());
    return run(c->db, "DROP TABLE IF EXISTS found") && run(c->db, pragma) && prepare(c);
}

static void shut(catalog_cache *c)
{
    sqlite3_finalize(c->get);
    sqlite3_finalize(c->put);
    sqlite3_close(c->db);
    *c = (catalog_cache){0};
}

catalog_cache *cache_open(void)
{
    nx_str folder = {0}, path = {0};
    catalog_cache *c = nx_calloc(1, sizeof *c);
    bool ok = nx_os_path(&folder, NX_OS_CACHE, NULL) && nx_os_mkdir_p(nx_str_cstr(&folder), 0700);
    if (ok) {
        nx_str_printf(&path, "%s/catalog.sqlite", nx_str_cstr(&folder));
        ok = open_file(c, nx_str_cstr(&path));
        int code = ok ? SQLITE_OK : sqlite3_errcode(c->db);
        if (code == SQLITE_NOTADB || code == SQLITE_CORRUPT) {
            shut(c);
            unlink(nx_str_cstr(&path));
            ok = open_file(c, nx_str_cstr(&path));
        }
    }
    if (!ok) {
        nx_info("the catalog's cache is not used: %s",
                c->db ? sqlite3_errmsg(c->db) : nx_error_message());
        shut(c);
        free(c);
        c = NULL;
    }
    nx_str_clear(&folder);
    nx_str_clear(&path);
    return c;
}

void cache_close(catalog_cache *c)
{
    if (!c)
        return;
    if (c->state != NO_TRANSACTION)
        run(c->db, "COMMIT");
    shut(c);
    free(c);
}

/* A text as C has it, cut where the member ends. */
static void take_text(char *at, size_t size, sqlite3_stmt *s, int i)
{
    const void *text = sqlite3_column_blob(s, i);
    size_t n = text ? (size_t)sqlite3_column_bytes(s, i) : 0;
    if (n > size - 1)
        n = size - 1;
    if (n)
        memcpy(at, text, n);
    at[n] = '\0';
}

static void take_column(catalog_facts *f, sqlite3_stmt *s, int i)
{
    char *at = (char *)f + columns[i].offset;
    if (columns[i].type == COLUMN_INT)
        *(int *)at = sqlite3_column_int(s, i);
    else if (columns[i].type == COLUMN_BOOL)
        *(bool *)at = sqlite3_column_int(s, i) != 0;
    else if (columns[i].type == COLUMN_BIG)
        *(uint64_t *)at = (uint64_t)sqlite3_column_int64(s, i);
    else
        take_text(at, columns[i].size, s, i);
}

bool cache_get(catalog_cache *c, const char *path, uint64_t signature, catalog_facts *out)
{
    if (!c)
        return false;
    if (c->state == NO_TRANSACTION && run(c->db, "BEGIN")) /* else each look would lock the file anew */
        c->state = READING;
    sqlite3_bind_blob(c->get, 1, path, (int)strlen(path), SQLITE_STATIC);
    sqlite3_bind_int64(c->get, 2, (int64_t)signature);
    bool found = sqlite3_step(c->get) == SQLITE_ROW;
    if (found) {
        *out = (catalog_facts){0};
        for (int i = 0; i < N_COLUMNS; i++)
            take_column(out, c->get, i);
    }
    sqlite3_reset(c->get);
    return found;
}

/* Anew, and not from READING: what others wrote meanwhile must be seen first. */
static bool begin_writing(catalog_cache *c)
{
    if (c->state == READING)
        run(c->db, "COMMIT");
    c->state = run(c->db, "BEGIN IMMEDIATE") ? WRITING : NO_TRANSACTION;
    return c->state == WRITING;
}

void cache_put(catalog_cache *c, const char *path, uint64_t signature, const catalog_facts *f)
{
    if (!c || f->passing)
        return;
    if (c->state != WRITING && !begin_writing(c)) /* another process writes: reading the files again */
        return;                                   /* does no harm */
    sqlite3_bind_blob(c->put, 1, path, (int)strlen(path), SQLITE_STATIC);
    sqlite3_bind_int64(c->put, 2, (int64_t)signature);
    for (int i = 0; i < N_COLUMNS; i++) {
        const char *at = (const char *)f + columns[i].offset;
        if (columns[i].type == COLUMN_INT)
            sqlite3_bind_int(c->put, i + 3, *(const int *)at);
        else if (columns[i].type == COLUMN_BOOL)
            sqlite3_bind_int(c->put, i + 3, *(const bool *)at);
        else if (columns[i].type == COLUMN_BIG)
            sqlite3_bind_int64(c->put, i + 3, (int64_t) * (const uint64_t *)at);
        else
            sqlite3_bind_blob(c->put, i + 3, at, (int)strlen(at), SQLITE_STATIC);
    }
    sqlite3_step(c->put);
    sqlite3_reset(c->put);
}
