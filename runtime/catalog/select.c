/*
 * select.c: nexus_select: which model for what. A policy's rules come first, then its ranking;
 * what does not fit by the estimate is never chosen, whatever a rule says.
 */
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/error.h"
#include "base/os.h"
#include "base/str.h"
#include "base/vec.h"
#include "nexus/nexus.h"
#include "runtime/catalog/policy.h"

enum { DEFAULT_CONTEXT = 4096 };

/* ---- the policy ---- */

char *policy_path(void)
{
    nx_str path = {0};
    bool ok = nx_os_path(&path, NX_OS_CONFIG, "policy.json");
    char *p = ok ? nx_str_take(&path) : NULL;
    nx_str_clear(&path);
    return p;
}

json_t *policy_load(void)
{
    char *path = policy_path();
    json_t *p = NULL;
    if (path && nx_os_is_file(path)) {
        p = nx_json_load_file(path);
        if (p && !json_is_object(json_object_get(p, "tasks"))) {
            nx_fail("[%s] has no object \"tasks\": remove the file, or begin with what 'nexus select "
                    "--policy' prints without it", path);
            json_decref(p);
            p = NULL;
        }
    } else {
        p = nx_json_parse(policy_shipped, strlen(policy_shipped), "the policy");
    }
    free(path);
    return p;
}

nexus_status nexus_policy(char **text, char **path)
{
    json_t *p = policy_load();
    if (!p)
        return NEXUS_ERROR_FORMAT;
    *path = policy_path();
    if (*path && nx_os_is_file(*path)) {
        *text = json_dumps(p, JSON_INDENT(2));
    } else {
        *text = nx_strdup(policy_shipped);
    }
    json_decref(p);
    return NEXUS_OK;
}

/* ---- candidates ---- */

typedef struct {
    const nexus_models *models;
    const json_t *policy, *task;
    nexus_selection *out;
    const char *cache_type;
    NX_VEC(nexus_choice) list;
} choice;

static bool is_of_kind(const json_t *task, const char *kind)
{
    const json_t *kinds = json_object_get(task, "kinds");
    for (size_t i = 0; i < json_array_size(kinds); i++) {
        const char *k = json_string_value(json_array_get(kinds, i));
        if (k && strcmp(k, kind) == 0)
            return true;
    }
    return !kinds;
}

static bool is_ready(const nexus_models_entry *e)
{
    return strcmp(e->status, "ready") == 0;
}

static double weight(const choice *c, const char *name)
{
    char path[64];
    snprintf(path, sizeof path, "weights.%s", name);
    return nx_json_get_real(c->policy, path, 0);
}

static double words_weigh(const json_t *task, const char *name)
{
    double sum = 0;
    const char *word;
    json_t *value;
    json_object_foreach(json_object_get(task, "words"), word, value)
        sum += strcasestr(name, word) ? json_number_value(value) : 0;
    return sum;
}

static double score_of(const choice *c, const nexus_models_entry *e)
{
    double billions = (double)e->parameters / 1e9;
    double size = nx_json_get_real(c->task, "size", weight(c, "size"));
    double s = words_weigh(c->task, e->name) + size * log2(billions > 0.01 ? billions : 0.01);
    s += strcmp(e->format, "mlx") == 0 ? weight(c, "mlx") : 0;
    s += !e->chat && strcmp(e->kind, "text") == 0 ? weight(c, "no_chat_template") : 0;
    s += e->bits_per_weight < 3 ? weight(c, "under_3_bits")
         : e->bits_per_weight < 4 ? weight(c, "under_4_bits")
                                  : 0;
    return is_ready(e) ? s : s + weight(c, "not_run_yet");
}

static const char *gigabytes(char out[16], uint64_t bytes)
{
    snprintf(out, 16, bytes < 10000000000 ? "%.2f GB" : "%.1f GB", (double)bytes / 1e9);
    return out;
}

static void write_note(nexus_choice *k, uint64_t memory)
{
    char a[16], b[16];
    if (!k->memory_bytes)
        snprintf(k->note, sizeof k->note, "what it needs cannot be told");
    else if (!k->fits)
        snprintf(k->note, sizeof k->note, "needs %s, and there are %s", gigabytes(a, k->memory_bytes),
                 gigabytes(b, memory));
    else if (!is_ready(k->model))
        snprintf(k->note, sizeof k->note, "fits (%s), and this version does not run its kind yet",
                 gigabytes(a, k->memory_bytes));
    else
        snprintf(k->note, sizeof k->note, "fits: needs %s", gigabytes(a, k->memory_bytes));
}

static void add_candidate(choice *c, const nexus_models_entry *e)
{
    nexus_selection *s = c->out;
    int most = e->max_context > 0 && e->max_context < s->context ? e->max_context : s->context;
    nexus_choice k = {.model = e, .score = score_of(c, e)};
    k.memory_bytes = nexus_models_memory(c->models, e, most, c->cache_type);
    k.fits = k.memory_bytes && k.memory_bytes <= s->memory;
    write_note(&k, s->memory);
    nx_vec_push(&c->list, k);
}

/* Those that fit first, then the higher score, then the smaller, then by name. */
static int compare(const void *a, const void *b)
{
    const nexus_choice *x = a, *y = b;
    if (x->fits != y->fits)
        return x->fits ? -1 : 1;
    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    if (x->memory_bytes != y->memory_bytes)
        return x->memory_bytes < y->memory_bytes ? -1 : 1;
    return strcmp(x->model->path, y->model->path);
}

static void add_all(choice *c)
{
    for (size_t i = 0; i < nexus_models_count(c->models); i++) {
        const nexus_models_entry *e = nexus_models_at(c->models, i);
        if (is_of_kind(c->task, e->kind) && !*e->duplicate_of && strcmp(e->status, "broken") != 0)
            add_candidate(c, e);
    }
    if (c->list.n)
        nx_vec_sort(&c->list, compare);
}

/* ---- the choice ---- */

/* "org/name:file" is called "name". */
static bool is_repository(const char *pull, const char *name)
{
    const char *slash = strrchr(pull, '/'), *begin = slash ? slash + 1 : pull;
    size_t n = strcspn(begin, ":");
    return n && strlen(name) == n && strncasecmp(begin, name, n) == 0;
}

/* A rule's model by its name, or by that of the repository it is fetched from. */
static nexus_choice *named(choice *c, const char *name, const char *pull)
{
    nexus_choice *found = NULL;
    for (size_t i = 0; i < c->list.n; i++) {
        nexus_choice *k = &c->list.at[i];
        bool is = strcasecmp(k->model->name, name) == 0 || is_repository(pull, k->model->name);
        if (is && (!found || (k->fits && !found->fits)))
            found = k;
    }
    return found;
}

static void put_first(choice *c, const nexus_choice *k)
{
    nexus_choice chosen = *k;
    size_t at = (size_t)(k - c->list.at);
    memmove(c->list.at + 1, c->list.at, at * sizeof chosen);
    c->list.at[0] = chosen;
    c->out->model = chosen.model;
    c->out->memory_bytes = chosen.memory_bytes;
}

/* The first rule whose memory is there names the wish; rules after it are for less memory. */
static bool choose_by_rules(choice *c, nx_str *why)
{
    nexus_selection *s = c->out;
    const json_t *rules = json_object_get(c->task, "rules");
    for (size_t i = 0; i < json_array_size(rules); i++) {
        const json_t *rule = json_array_get(rules, i);
        const char *name = nx_json_get_str(rule, "model", ""), *pull = nx_json_get_str(rule, "pull", "");
        double least = nx_json_get_real(rule, "memory_gb", 0);
        char need[16], have[16];
        if ((double)s->memory < least * 1e9)
            continue;
        if (!*s->pull)
            snprintf(s->pull, sizeof s->pull, "%s", pull);
        nexus_choice *k = named(c, name, pull);
        if (k && k->fits && is_ready(k->model)) {
            nx_str_printf(why, "The policy names %s for %g GB and more, and it needs %s of %s.", name,
                          least, gigabytes(need, k->memory_bytes), gigabytes(have, s->memory));
            *s->pull = '\0';
            put_first(c, k);
            return true;
        }
        if (k && !k->fits)
            nx_str_printf(why, "The policy names %s, which needs %s of %s. ", name,
                          gigabytes(need, k->memory_bytes), gigabytes(have, s->memory));
        else if (k)
            nx_str_printf(why, "The policy names %s, whose kind is not run yet. ", name);
        else if (!why->len)
            nx_str_printf(why, "The policy names %s, which is not here. ", name);
    }
    return false;
}

static void choose_by_rank(choice *c, nx_str *why)
{
    nexus_selection *s = c->out;
    char need[16], have[16];
    const nexus_choice *k = c->list.n ? &c->list.at[0] : NULL;
    if (k && k->fits) {
        nx_str_printf(why, "%s is the best of %zu for '%s': it needs %s of %s%s.",
                      k->model->name, c->list.n, s->task, gigabytes(need, k->memory_bytes),
                      gigabytes(have, s->memory),
                      is_ready(k->model) ? "" : "; this version does not run its kind yet");
        put_first(c, k);
    } else if (k) {
        nx_str_printf(why, "No model for '%s' fits: the best of %zu, %s, needs %s, and there are %s.",
                      s->task, c->list.n, k->model->name, gigabytes(need, k->memory_bytes),
                      gigabytes(have, s->memory));
    } else {
        nx_str_printf(why, "There is no model for '%s' here.", s->task);
    }
    if (!s->model && !*s->pull)
        snprintf(s->pull, sizeof s->pull, "%s", nx_json_get_str(c->task, "pull", ""));
}

static bool find_task(choice *c)
{
    const json_t *tasks = json_object_get(c->policy, "tasks");
    c->task = json_object_get(tasks, c->out->task);
    if (json_is_object(c->task))
        return true;
    nx_str names = {0};
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)tasks, name, value)
        nx_str_printf(&names, "%s%s", names.len ? ", " : "", name);
    nx_fail("the policy has no task '%s': there are %s", c->out->task, nx_str_cstr(&names));
    nx_str_clear(&names);
    return false;
}

nexus_status nexus_select(const nexus_models *m, const nexus_select_options *options,
                          nexus_selection *out)
{
    nexus_select_options o = options ? *options : (nexus_select_options){0};
    nexus_selection s = {.memory = o.memory ? o.memory : nexus_models_machine(m).available,
                         .context = o.context > 0 ? o.context : DEFAULT_CONTEXT};
    choice c = {.models = m, .out = &s, .cache_type = o.cache_type};
    nx_str why = {0};
    snprintf(s.task, sizeof s.task, "%s", o.task && *o.task ? o.task : "chat");
    json_t *policy = policy_load();
    if (!policy)
        return NEXUS_ERROR_FORMAT;
    c.policy = policy;
    if (!find_task(&c)) {
        json_decref(policy);
        return NEXUS_ERROR_ARGUMENT;
    }
    add_all(&c);
    if (!choose_by_rules(&c, &why))
        choose_by_rank(&c, &why);
    snprintf(s.reason, sizeof s.reason, "%s", nx_str_cstr(&why));
    s.candidates = c.list.at;
    s.candidate_count = c.list.n;
    *out = s;
    nx_str_clear(&why);
    json_decref(policy);
    return NEXUS_OK;
}

void nexus_selection_clear(nexus_selection *s)
{
    free(s->candidates);
    *s = (nexus_selection){0};
}
