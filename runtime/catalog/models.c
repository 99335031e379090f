/*
 * models.c: nexus_models_*: places are walked, what is found is looked into (once for each size and
 * time a file has, several at a time), copies are told from their originals, and each is compared
 * with the memory there is.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/error.h"
#include "base/os.h"
#include "nexus/nexus.h"
#include "runtime/catalog/cache.h"
#include "runtime/catalog/estimate.h"
#include "runtime/catalog/names.h"
#include "runtime/catalog/scan.h"

enum { DEFAULT_CONTEXT = 4096, MOST_THREADS = 8 };

struct nexus_models {
    catalog_scan scan;
    NX_VEC(nexus_models_entry) entries;
    NX_VEC(size_t) units; /* of each entry */
    nexus_memory memory;
};

/* NEXUS_MEMORY: as if the machine had no more than so many bytes (or 4G, 512M). */
static uint64_t told_limit(void)
{
    const char *text = getenv("NEXUS_MEMORY");
    char *end;
    double v = text ? strtod(text, &end) : 0;
    if (!text || v <= 0)
        return UINT64_MAX;
    v *= *end == 'G' || *end == 'g' ? 1e9 : *end == 'M' || *end == 'm' ? 1e6 : 1;
    return v < 1e18 ? (uint64_t)v : UINT64_MAX;
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

nexus_status nexus_memory_now(nexus_memory *out)
{
    uint64_t total = least(nx_os_memory_total(), told_limit());
    if (!total) {
        nx_fail("this system does not tell how much memory there is");
        return NEXUS_ERROR_UNSUPPORTED;
    }
    *out = (nexus_memory){total, least(nx_os_memory_available(), total), estimate_reserve(total)};
    return NEXUS_OK;
}

/* ---- looking into what was found ---- */

typedef struct {
    catalog_scan *scan;
    const size_t *todo;
    size_t n;
    atomic_size_t next;
} look_job;

static void look_into(catalog_unit *u)
{
    if (u->kind == UNIT_FOLDER)
        facts_of_folder(&u->facts, u->folder, &u->files);
    else if (u->kind == UNIT_GGUF || facts_is_gguf(u->folder, u->files.at[0].name))
        facts_of_gguf(&u->facts, u->folder, &u->files);
    else
        u->facts = (catalog_facts){0}; /* no model */
}

static void *look(void *arg)
{
    look_job *j = arg;
    for (size_t i; (i = atomic_fetch_add(&j->next, 1)) < j->n;)
        look_into(&j->scan->units.at[j->todo[i]]);
    return NULL;
}

static void look_at_all(catalog_scan *s, const size_t *todo, size_t n)
{
    look_job job = {.scan = s, .todo = todo, .n = n};
    pthread_t threads[MOST_THREADS];
    int cpus = nx_os_cpus(), started = 0;
    while (started < cpus - 1 && started < MOST_THREADS && (size_t)started * 4 < n &&
           pthread_create(&threads[started], NULL, look, &job) == 0)
        started++;
    look(&job);
    for (int i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
}

static void find_facts(catalog_scan *s, catalog_cache *cache, bool fresh)
{
    NX_VEC(size_t) todo = {0};
    for (size_t i = 0; i < s->units.n; i++) {
        catalog_unit *u = &s->units.at[i];
        if (fresh || !cache_get(cache, u->path, u->signature, &u->facts))
            nx_vec_push(&todo, i);
    }
    look_at_all(s, todo.at, todo.n);
    for (size_t i = 0; i < todo.n; i++) {
        const catalog_unit *u = &s->units.at[todo.at[i]];
        cache_put(cache, u->path, u->signature, &u->facts);
    }
    nx_vec_clear(&todo);
}

/* ---- entries ---- */

static const char *fit_of(const nexus_memory *m, uint64_t bytes)
{
    if (!bytes || !m->total)
        return "";
    return bytes <= m->available ? "now" : bytes <= m->total - m->reserve ? "when-free" : "too-big";
}

static uint64_t memory_of(const catalog_facts *f, int context, nn_cache_form type)
{
    return f->shape.n_layers > 0 && f->shape.hidden_size > 0 && f->shape.file_bytes &&
                   f->shape.head_dim > 0
               ? estimate_memory(&f->shape, context, type)
               : 0;
}

static bool can_run(const catalog_facts *f)
{
    return strcmp(f->status, "broken") != 0 && strcmp(f->kind, "adapter") != 0 &&
           strcmp(f->kind, "projector") != 0;
}

/* What a model of another format would be as MLX with four bits. */
static void convert(nexus_models_entry *e, const catalog_facts *f, const nexus_memory *memory,
                    nn_cache_form type)
{
    e->converted_fit = "";
    if (strcmp(f->format, "mlx") == 0 || !can_run(f))
        return;
    uint64_t bytes = estimate_quantized(f->parameters, f->matrix_parameters, 4);
    if (!f->parameters || bytes > f->weight_bytes / 10 * 9)
        return;
    catalog_facts then = *f;
    then.shape.file_bytes = bytes;
    then.shape.turned_bytes = 0;
    e->converted_bytes = bytes;
    e->converted_memory_bytes = memory_of(&then, e->context, type);
    e->converted_fit = fit_of(memory, e->converted_memory_bytes);
}

static nexus_models_entry entry_of(const catalog_unit *u, const nexus_memory *memory, int context,
                                   nn_cache_form type)
{
    const catalog_facts *f = &u->facts;
    nexus_models_entry e = {
        .name = u->name, .path = u->path, .store = u->store, .format = f->format, .kind = f->kind,
        .family = f->family, .quantization = f->quantization, .status = f->status,
        .reason = f->reason, .base = f->base, .duplicate_of = "", .fit = "",
        .parameters = f->parameters, .bytes = f->shape.file_bytes ? f->shape.file_bytes : u->bytes,
        .modified = u->modified_ns / 1000000000, .max_context = f->max_context, .chat = f->chat};
    e.bits_per_weight = f->parameters ? 8.0 * (double)f->weight_bytes / (double)f->parameters : 0;
    e.context = f->max_context > 0 && f->max_context < context ? f->max_context : context;
    if (can_run(f)) {
        e.memory_bytes = memory_of(f, e.context, type);
        e.fit = fit_of(memory, e.memory_bytes);
    }
    convert(&e, f, memory, type);
    return e;
}

/* ---- copies ---- */

static uint64_t sample_of(nexus_models *m, catalog_cache *cache, size_t entry)
{
    catalog_unit *u = &m->scan.units.at[m->units.at[entry]];
    if (!u->facts.sample) {
        u->facts.sample = facts_sample(u->folder, &u->files);
        cache_put(cache, u->path, u->signature, &u->facts);
    }
    return u->facts.sample;
}

static bool same_files(const catalog_unit *a, const catalog_unit *b)
{
    return a->files.n && b->files.n && a->files.at[0].inode == b->files.at[0].inode &&
           a->files.at[0].device == b->files.at[0].device && a->bytes == b->bytes;
}

/* Entries of equal headers and sizes are copies where pieces of their weights are equal too. The
 * first of each kind is kept by fingerprint and sample. */
static void find_copies(nexus_models *m, catalog_cache *cache)
{
    nx_map firsts = {0}; /* fingerprint -> entry + 1 */
    nx_map exact = {0};  /* fingerprint and sample -> entry + 1 */
    for (size_t i = 0; i < m->entries.n; i++) {
        const catalog_unit *u = &m->scan.units.at[m->units.at[i]];
        uint64_t key[3] = {u->facts.fingerprint, u->facts.shape.file_bytes, 0};
        if (!u->facts.weight_bytes || strcmp(u->facts.status, "broken") == 0)
            continue;
        size_t first = nx_map_get(&firsts, (char *)key, 16, 0);
        if (!first) {
            nx_map_set(&firsts, (char *)key, 16, i + 1);
            continue;
        }
        const catalog_unit *f = &m->scan.units.at[m->units.at[first - 1]];
        if (same_files(f, u)) {
            m->entries.at[i].duplicate_of = m->entries.at[first - 1].path;
            continue;
        }
        key[2] = sample_of(m, cache, first - 1);
        if (!nx_map_find(&exact, (char *)key, 24))
            nx_map_set(&exact, (char *)key, 24, first);
        key[2] = sample_of(m, cache, i);
        size_t original = nx_map_get(&exact, (char *)key, 24, 0);
        if (original)
            m->entries.at[i].duplicate_of = m->entries.at[original - 1].path;
        else
            nx_map_set(&exact, (char *)key, 24, i + 1);
    }
    nx_map_clear(&firsts);
    nx_map_clear(&exact);
}

/* ---- scanning ---- */

/* By place in the order given, then by path: the same tree gives the same list. */
static int by_path(const void *a, const void *b)
{
    const catalog_unit *x = a, *y = b;
    int order = strcmp(x->path, y->path);
    return order ? order : strcmp(x->name, y->name);
}

static void walk(catalog_scan *s, const char *path, const char *store)
{
    size_t before = s->units.n;
    scan_folder(s, path, store);
    if (s->units.n > before)
        qsort(s->units.at + before, s->units.n - before, sizeof *s->units.at, by_path);
}

static bool walk_named(catalog_scan *s, const char *folder)
{
    if (nx_os_is_dir(folder)) {
        walk(s, folder, "folder");
        return true;
    }
    if (nx_os_is_file(folder))
        return nx_fail("[%s] this is a file: name the folder it lies in, or use nexus info", folder);
    return nx_fail("[%s] there is no such folder", folder);
}

static void walk_places(catalog_scan *s)
{
    catalog_places places = {0};
    names_list folders = {0};
    scan_places(&places);
    names_folders(&folders);
    for (size_t i = 0; i < places.n; i++)
        walk(s, places.at[i].path, places.at[i].store);
    for (size_t i = 0; i < folders.n; i++) {
        if (!nx_os_is_dir(folders.at[i])) {
            nx_str text = {0};
            nx_str_printf(&text, "%s: the settings name this folder, and it is not there",
                          folders.at[i]);
            nx_vec_push(&s->problems, nx_str_take(&text));
        } else {
            walk(s, folders.at[i], "folder");
        }
    }
    scan_places_clear(&places);
    names_list_clear(&folders);
}

nexus_status nexus_models_scan(const nexus_models_options *options, nexus_models **out)
{
    nexus_models_options o = options ? *options : (nexus_models_options){0};
    nn_cache_form type;
    if (!nn_cache_type(o.cache_type, &type))
        return NEXUS_ERROR_ARGUMENT;
    if (o.context < 0) {
        nx_fail("a context of %d tokens makes no sense", o.context);
        return NEXUS_ERROR_ARGUMENT;
    }
    nexus_models *m = nx_calloc(1, sizeof *m);
    for (size_t i = 0; i < o.folder_count; i++)
        if (!walk_named(&m->scan, o.folders[i])) {
            nexus_models_free(m);
            return NEXUS_ERROR_NOT_FOUND;
        }
    if (!o.folder_count || o.stores)
        walk_places(&m->scan);
    catalog_cache *cache = cache_open();
    find_facts(&m->scan, cache, o.fresh);
    nexus_memory_now(&m->memory);
    for (size_t i = 0; i < m->scan.units.n; i++) {
        const catalog_unit *u = &m->scan.units.at[i];
        if (!u->facts.format[0])
            continue;
        nx_vec_push(&m->entries, entry_of(u, &m->memory, o.context ? o.context : DEFAULT_CONTEXT, type));
        nx_vec_push(&m->units, i);
    }
    find_copies(m, cache);
    cache_close(cache);
    *out = m;
    return NEXUS_OK;
}

void nexus_models_free(nexus_models *m)
{
    if (!m)
        return;
    scan_clear(&m->scan);
    nx_vec_clear(&m->entries);
    nx_vec_clear(&m->units);
    free(m);
}

/* ---- asking ---- */

size_t nexus_models_count(const nexus_models *m)
{
    return m->entries.n;
}

const nexus_models_entry *nexus_models_at(const nexus_models *m, size_t i)
{
    return i < m->entries.n ? &m->entries.at[i] : NULL;
}

/* "name", or "publisher/name" as the end of the path. */
static bool is_named(const nexus_models_entry *e, const char *name)
{
    if (strcasecmp(e->name, name) == 0 || strcmp(e->path, name) == 0)
        return true;
    size_t n = strlen(name), p = strlen(e->path);
    if (!strchr(name, '/') || n + 1 > p)
        return false;
    size_t end = strcasecmp(e->path + p - (p > 5 ? 5 : 0), ".gguf") == 0 && n + 6 <= p ? 5 : 0;
    for (size_t cut = 0; cut <= end; cut += 5)
        if (e->path[p - cut - n - 1] == '/' && strncasecmp(e->path + p - cut - n, name, n) == 0)
            return true;
    return false;
}

static const nexus_models_entry *find_exactly(const nexus_models *m, const char *name)
{
    const nexus_models_entry *found = NULL;
    for (size_t i = 0; i < m->entries.n; i++) {
        const nexus_models_entry *e = &m->entries.at[i];
        if (!is_named(e, name))
            continue;
        if (strcmp(e->status, "ready") == 0)
            return e;
        found = found ? found : e;
    }
    return found;
}

const nexus_models_entry *nexus_models_find(const nexus_models *m, const char *name)
{
    char *target = names_alias(name);
    const nexus_models_entry *e = target ? find_exactly(m, target) : NULL;
    free(target);
    return e ? e : find_exactly(m, name);
}

uint64_t nexus_models_memory(const nexus_models *m, const nexus_models_entry *e, int context,
                             const char *cache_type)
{
    nn_cache_form type;
    size_t i = (size_t)(e - m->entries.at);
    if (context < 1 || i >= m->entries.n || !nn_cache_type(cache_type, &type))
        return 0;
    return memory_of(&m->scan.units.at[m->units.at[i]].facts, context, type);
}

size_t nexus_models_problem_count(const nexus_models *m)
{
    return m->scan.problems.n;
}

const char *nexus_models_problem(const nexus_models *m, size_t i)
{
    return i < m->scan.problems.n ? m->scan.problems.at[i] : NULL;
}

nexus_memory nexus_models_machine(const nexus_models *m)
{
    return m->memory;
}
