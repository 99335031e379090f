/* open.c: models: opened by name, with weights or for their text alone; what they are. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "base/os.h"
#include "nexus/nexus.h"
#include "runtime/catalog/refuse.h"
#include "runtime/convert/onload.h"
#include "runtime/handles.h"
#include "runtime/nn/engine.h"

/* The jinja source of a folder: chat_template.jinja, or tokenizer_config.json's entry. */
static char *folder_template(const package *p)
{
    nx_str path = {0}, text = {0};
    nx_str_printf(&path, "%s/chat_template.jinja", p->path);
    if (nx_os_is_file(nx_str_cstr(&path)) &&
        nx_os_read_file(nx_str_cstr(&path), &text, 16 << 20)) {
        nx_str_clear(&path);
        return nx_str_take(&text);
    }
    nx_str_truncate(&path, 0);
    nx_str_printf(&path, "%s/tokenizer_config.json", p->path);
    json_t *config = nx_os_is_file(nx_str_cstr(&path)) ? nx_json_load_file(nx_str_cstr(&path)) : NULL;
    const json_t *t = nx_json_get(config, "chat_template");
    const char *source = json_string_value(t);
    size_t i;
    json_t *entry;
    if (json_is_array(t)) /* several by name: the one called default */
        json_array_foreach(t, i, entry)
            if (strcmp(nx_json_get_str(entry, "name", ""), "default") == 0)
                source = nx_json_get_str(entry, "template", NULL);
    char *copy = source ? nx_strdup(source) : NULL;
    json_decref(config);
    nx_str_clear(&path);
    nx_str_clear(&text);
    return copy;
}

static char *gguf_template(const nx_gguf *g)
{
    nx_slice s = nx_gguf_get_str(g, "tokenizer.chat_template");
    return s.data ? nx_strndup(s.data, s.len) : NULL;
}

static char *token_text(const tokenizer *t, int32_t id)
{
    nx_slice s = id < 0 ? (nx_slice){"", 0} : tok_token(t, id);
    return nx_strndup(s.data ? s.data : "", s.len);
}

static bool load_text(nexus_model *m, const nx_gguf *gguf)
{
    const package *p = &m->package;
    m->tokenizer = gguf ? tok_from_gguf(gguf) : tok_from_json(p->path);
    if (!m->tokenizer)
        return false;
    char *source = gguf ? gguf_template(gguf) : folder_template(p);
    char *bos = token_text(m->tokenizer, tok_bos(m->tokenizer));
    char *eos = token_text(m->tokenizer, tok_eos(m->tokenizer));
    m->chat = chat_template_new(source, bos, eos);
    m->template_text = source;
    free(bos);
    free(eos);
    if (m->chat && chat_template_is_fallback(m->chat))
        nx_info("%s brings no chat template: ChatML is used", p->name);
    return m->chat != NULL;
}

typedef struct {
    nexus_model *m;
    int threads;
    bool brief;
    nexus_status status;
} load_job;

static bool load_weights(void *arg)
{
    load_job *j = arg;
    nexus_model *m = j->m;
    const nexus_engine *ext = engine_extensions();
    if (ext && j->threads > 0)
        ext->set_threads(j->threads);
    if (!model_load_weights(m->model, &m->package.source, m->package.quant, m->package.is_gguf)) {
        j->status = NEXUS_ERROR_FORMAT;
        return false;
    }
    m->scheduler = scheduler_new(m->model, j->brief);
    return true;
}

static bool free_on_engine(void *arg)
{
    nexus_model *m = arg;
    scheduler_free(m->scheduler);
    model_free(m->model);
    return true;
}

void model_handle_unref(nexus_model *m)
{
    if (atomic_fetch_sub(&m->refs, 1) != 1)
        return;
    if (m->model)
        engine_run(free_on_engine, m);
    vocabulary_free(m->vocabulary);
    nx_vec_clear(&m->sessions);
    pthread_mutex_destroy(&m->vocabulary_lock);
    tok_free(m->tokenizer);
    chat_template_free(m->chat);
    free(m->template_text);
    free(m->note);
    package_clear(&m->package);
    free(m);
}

static bool report(const nexus_load_options *o, double fraction)
{
    return !o || !o->progress || o->progress(fraction, o->user);
}

/* Opens the package of `name`, or of what it was quantized to. */
static nexus_status open_package(nexus_model *m, const char *name, const nexus_load_options *o)
{
    nx_str instead = {0}, note = {0};
    nexus_status status = NEXUS_OK;
    if (o && o->quantize && *o->quantize && strcmp(o->quantize, "none") != 0)
        status = onload_path(name, o, &instead, &note);
    if (!status)
        status = package_open(&m->package, instead.len ? nx_str_cstr(&instead) : name);
    m->note = note.len ? nx_str_take(&note) : NULL;
    if (m->note)
        nx_info("%s", m->note);
    nx_str_clear(&instead);
    nx_str_clear(&note);
    return status;
}

static nexus_status load_parts(nexus_model *m, const char *name, const nexus_load_options *o)
{
    nexus_status status = open_package(m, name, o);
    if (status)
        return status;
    if (!report(o, 0.1))
        return NEXUS_ERROR_CANCELLED;
    m->model = model_configure(&m->package.config);
    if (!m->model) {
        nx_fail_in("[%s]", m->package.path);
        return model_arch_find(m->package.arch) ? NEXUS_ERROR_FORMAT : NEXUS_ERROR_UNSUPPORTED;
    }
    if (!o || !o->force) {
        int ctx = package_context(m->model, o ? o->context : 0);
        status = refuse_unless_fits(&m->package, m->model, ctx, o ? o->cache_type : NULL);
        if (status)
            return status;
    }
    if (!load_text(m, m->package.is_gguf ? m->package.source.ggufs.at[0] : NULL)) {
        nx_fail_in("[%s]", m->package.path);
        return NEXUS_ERROR_FORMAT;
    }
    if (!report(o, 0.5))
        return NEXUS_ERROR_CANCELLED;
    load_job job = {.m = m, .threads = o ? o->threads : 0, .brief = o && o->shared};
    if (!engine_run(load_weights, &job))
        return job.status ? job.status : NEXUS_ERROR;
    return report(o, 1) ? NEXUS_OK : NEXUS_ERROR_CANCELLED;
}

/* Tokenizer and template of `name`: of a vocabulary without a model too. */
static nexus_status load_text_only(nexus_model *m, const char *name)
{
    nx_str path = {0}, json = {0}, pieces = {0};
    nx_str_printf(&json, "%s/tokenizer.json", name);
    nx_str_printf(&pieces, "%s/tokenizer.model", name);
    bool is_file = nx_ends_with(name, ".json") || nx_ends_with(name, ".model");
    nexus_status status = NEXUS_OK;
    if (is_file || nx_os_is_file(nx_str_cstr(&json)) || nx_os_is_file(nx_str_cstr(&pieces)))
        nx_str_puts(&path, name);
    else
        status = package_resolve(name, &path);
    nx_str_clear(&json);
    nx_str_clear(&pieces);
    if (!status) {
        m->package.path = nx_str_take(&path);
        m->package.name = nx_strdup(name);
        m->package.is_gguf = nx_os_is_file(m->package.path) && !is_file;
        nx_gguf *g = m->package.is_gguf ? nx_gguf_open(m->package.path) : NULL;
        if ((m->package.is_gguf && !g) || !load_text(m, g)) {
            nx_fail_in("[%s]", m->package.path);
            status = NEXUS_ERROR_FORMAT;
        }
        nx_gguf_free(g);
    }
    nx_str_clear(&path);
    return status;
}

nexus_status nexus_model_load(const char *name, const nexus_load_options *options,
                              nexus_model **out)
{
    nexus_model *m = nx_calloc(1, sizeof *m);
    atomic_init(&m->refs, 1);
    pthread_mutex_init(&m->vocabulary_lock, NULL);
    bool text_only = options && options->text_only;
    nexus_status status = text_only ? load_text_only(m, name) : load_parts(m, name, options);
    if (status) {
        char message[1024];
        snprintf(message, sizeof message, "%s", nx_error_message());
        model_handle_unref(m);
        nx_fail("%s", status == NEXUS_ERROR_CANCELLED ? "loading was stopped" : message);
        return status;
    }
    *out = m;
    return NEXUS_OK;
}

void nexus_model_free(nexus_model *m)
{
    if (m)
        model_handle_unref(m);
}

nexus_status nexus_inspect(const char *name, int ctx, nexus_model_info *out)
{
    return nexus_inspect_cache(name, ctx, NULL, out);
}

nexus_status nexus_inspect_cache(const char *name, int ctx, const char *cache_type, nexus_model_info *out)
{
    nn_cache_form form;
    if (!nn_cache_type(cache_type, &form))
        return NEXUS_ERROR_ARGUMENT;
    package p;
    nexus_status status = package_open(&p, name);
    if (status)
        return status;
    model *m = model_configure(&p.config);
    if (m)
        status = package_describe(&p, m, ctx, form, out);
    else
        status = model_arch_find(p.arch) ? NEXUS_ERROR_FORMAT : NEXUS_ERROR_UNSUPPORTED;
    if (status)
        nx_fail_in("[%s]", p.path);
    model_free(m);
    package_clear(&p);
    return status;
}

bool model_handle_whole(const nexus_model *m)
{
    return m->model || nx_fail("the model was opened for its text alone: open it whole for this");
}

nexus_status nexus_model_describe(nexus_model *m, int ctx, nexus_model_info *out)
{
    if (!model_handle_whole(m))
        return NEXUS_ERROR_ARGUMENT;
    return package_describe(&m->package, m->model, ctx, NN_CACHE_F16, out);
}

const char *nexus_model_note(const nexus_model *m)
{
    return m->note;
}

bool nexus_model_has_template(const nexus_model *m)
{
    return !chat_template_is_fallback(m->chat);
}

const char *nexus_model_template(const nexus_model *m)
{
    return m->template_text;
}

bool nexus_model_takes_tools(const nexus_model *m)
{
    return chat_template_supports_tools(m->chat);
}

bool nexus_model_reads(const nexus_model *m, const char *variable)
{
    return chat_template_reads(m->chat, variable);
}

/* ---- which model can propose tokens to which ---- */

static bool keeps_states(const model *m)
{
    for (int i = 0; i < m->n_layers; i++)
        if (m->caches[i].state[0][0])
            return true;
    return false;
}

bool nexus_model_takes_drafts(const nexus_model *m)
{
    return m->model && !m->model->arch->encoder && !keeps_states(m->model);
}

/* The id of the first token that differs; -1: none does. */
static int64_t first_other_token(const tokenizer *a, const tokenizer *b)
{
    size_t n = tok_vocab_size(a), m = tok_vocab_size(b);
    for (size_t i = 0; i < n && i < m; i++) {
        nx_slice x = tok_token(a, (int32_t)i), y = tok_token(b, (int32_t)i);
        if (x.len != y.len || (x.len && memcmp(x.data, y.data, x.len) != 0))
            return (int64_t)i;
    }
    return n == m ? -1 : (int64_t)(n < m ? n : m);
}

nexus_status nexus_model_can_draft(nexus_model *smaller, nexus_model *m)
{
    const nexus_model *both[] = {smaller, m};
    for (int i = 0; i < 2; i++) {
        if (!model_handle_whole(both[i]))
            return NEXUS_ERROR_ARGUMENT;
        if (!nexus_model_takes_drafts(both[i])) {
            nx_fail("%s (%s) cannot speculate: what its layers keep of a text knows no way back",
                    both[i]->package.name, both[i]->package.arch);
            return NEXUS_ERROR_UNSUPPORTED;
        }
    }
    int64_t other = first_other_token(smaller->tokenizer, m->tokenizer);
    if (other < 0)
        return NEXUS_OK;
    nx_fail("%s cannot propose tokens for %s: their vocabularies differ from token %lld on; choose a "
            "smaller model of the same family", smaller->package.name, m->package.name, (long long)other);
    return NEXUS_ERROR_UNSUPPORTED;
}
