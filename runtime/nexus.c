/*
 * nexus.c: libnexus's C interface: handles, threads and status codes around the parts.
 *
 * The engine thread (nn/engine.h) loads models and runs the scheduler; a generation hands its tokens
 * over in a queue, from which the calling thread takes them, makes text and calls back.
 */
#include "nexus/nexus.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "base/os.h"
#include "base/utf8.h"
#include "runtime/catalog/refuse.h"
#include "runtime/convert/onload.h"
#include "runtime/generate/stopper.h"
#include "runtime/handles.h"
#include "runtime/nn/engine.h"
#include "runtime/text/detok.h"

struct nexus_session {
    nexus_model *model;
    nn_cache cache;
    token_vec tokens; /* what the cache holds, and perhaps one more */
    nexus_model *draft; /* NULL: none */
    nn_cache draft_cache;
    /* Of cache and tokens between generations, when others may look for their beginning; during one
     * only the engine thread, which is the one that looks, touches them. */
    pthread_mutex_t kept;
    int context;
    pthread_mutex_t use; /* one generation at a time */
    atomic_bool cancel;
};

const char *nexus_error_message(void)
{
    return nx_error_message();
}

const char *nexus_version(void)
{
    return NEXUS_VERSION;
}

void nexus_free(void *p)
{
    free(p);
}

/* ---- models ----------------------------------------------------------------------------------- */

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

static void model_unref(nexus_model *m)
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
        model_unref(m);
        nx_fail("%s", status == NEXUS_ERROR_CANCELLED ? "loading was stopped" : message);
        return status;
    }
    *out = m;
    return NEXUS_OK;
}

void nexus_model_free(nexus_model *m)
{
    if (m)
        model_unref(m);
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

/* False with a message for one that was opened for its text alone. */
static bool is_whole(const nexus_model *m)
{
    return m->model || nx_fail("the model was opened for its text alone: open it whole for this");
}

nexus_status nexus_model_describe(nexus_model *m, int ctx, nexus_model_info *out)
{
    if (!is_whole(m))
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

/* ---- drafts ------------------------------------------------------------------------------------ */

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
        if (!is_whole(both[i]))
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

/* ---- sessions --------------------------------------------------------------------------------- */

nexus_status nexus_session_new(nexus_model *m, const nexus_session_options *options,
                               nexus_session **out)
{
    nn_cache_form type;
    if (!is_whole(m))
        return NEXUS_ERROR_ARGUMENT;
    if (!nn_cache_type(options ? options->cache_type : NULL, &type))
        return NEXUS_ERROR_ARGUMENT;
    int wanted = options ? options->context : 0;
    if (m->model->arch->encoder) {
        nx_fail("a model of the family '%s' makes embeddings, not text", m->package.arch);
        return NEXUS_ERROR_UNSUPPORTED;
    }
    if (wanted < 0 || wanted > m->model->max_context) {
        nx_fail("a context of %d tokens is not possible: the model was made for at most %d", wanted,
                m->model->max_context);
        return NEXUS_ERROR_ARGUMENT;
    }
    nexus_model *smaller = options ? options->draft : NULL;
    nexus_status drafts = smaller ? nexus_model_can_draft(smaller, m) : NEXUS_OK;
    if (drafts)
        return drafts;
    nexus_session *s = nx_calloc(1, sizeof *s);
    s->model = m;
    s->context = package_context(m->model, wanted);
    atomic_fetch_add(&m->refs, 1);
    pthread_mutex_init(&s->use, NULL);
    pthread_mutex_init(&s->kept, NULL);
    nn_cache_init(&s->cache, m->model->caches, m->model->n_layers, type, s->context);
    if (smaller) {
        const model *d = smaller->model;
        s->draft = smaller;
        atomic_fetch_add(&smaller->refs, 1);
        nn_cache_init(&s->draft_cache, d->caches, d->n_layers, type,
                      s->context < d->max_context ? s->context : d->max_context);
    }
    *out = s;
    return NEXUS_OK;
}

/* Engine thread. */
static bool clear_caches(void *arg)
{
    nexus_session *s = arg;
    nexus_model *m = s->model;
    for (size_t i = 0; i < m->sessions.n; i++)
        if (m->sessions.at[i] == s)
            m->sessions.at[i] = nx_vec_pop(&m->sessions);
    nn_cache_clear(&s->cache);
    if (s->draft)
        nn_cache_clear(&s->draft_cache);
    return true;
}

void nexus_session_free(nexus_session *s)
{
    if (!s)
        return;
    pthread_mutex_lock(&s->use); /* a running generation ends first */
    pthread_mutex_unlock(&s->use);
    engine_run(clear_caches, s);
    nx_vec_clear(&s->tokens);
    pthread_mutex_destroy(&s->use);
    pthread_mutex_destroy(&s->kept);
    if (s->draft)
        model_unref(s->draft);
    model_unref(s->model);
    free(s);
}

void nexus_session_cancel(nexus_session *s)
{
    atomic_store(&s->cancel, true);
}

/* ---- generation ------------------------------------------------------------------------------- */

nexus_generate_options nexus_generate_defaults(void)
{
    return (nexus_generate_options){.temperature = 0.7f, .top_p = 0.95f, .repeat_penalty = 1};
}

typedef struct {
    int32_t id;
    float logprob;
} token_item;

typedef NX_VEC(nexus_candidate) candidate_vec;

/* One nexus_generate: written by the engine thread, read by the calling thread. */
typedef struct {
    nexus_session *session;
    const nexus_generate_options *options;
    sequence sequence;
    sampler *sampler;
    draft draft;
    const int32_t *prompt;
    size_t count, cached;
    pthread_mutex_t lock;
    pthread_cond_t arrived;
    NX_VEC(token_item) items;
    candidate_vec top; /* options->top_logprobs of them for each item */
    size_t taken;
    size_t prefilled, reported; /* prompt tokens read, and told to the caller */
    bool ended;
    double started, first_token; /* seconds; first_token 0: none yet */
    const char *stop_reason;
} generation;

/* Engine thread. End-of-turn tokens are counted as generated, and end the text before them. */
static bool token_arrived(sequence *q, int32_t id, float logprob, const sampler_top *top)
{
    generation *g = q->user;
    size_t n = q->tokens->n - q->prompt_end;
    bool more = false;
    if (!g->options->ignore_eos && tok_is_eog(g->session->model->tokenizer, id))
        g->stop_reason = "eos";
    else if (g->options->max_tokens > 0 && n >= (size_t)g->options->max_tokens)
        g->stop_reason = "length";
    else if (q->tokens->n >= (size_t)g->session->context)
        g->stop_reason = "context";
    else
        more = true;
    pthread_mutex_lock(&g->lock);
    if (g->first_token == 0)
        g->first_token = nx_os_seconds();
    nx_vec_push(&g->items, (token_item){id, logprob});
    for (int i = 0; i < q->n_top; i++)
        nx_vec_push(&g->top, (nexus_candidate){top[i].id, top[i].logprob});
    pthread_cond_signal(&g->arrived);
    pthread_mutex_unlock(&g->lock);
    return more;
}

/* Engine thread. */
static void prompt_moved(sequence *q, size_t done, size_t total)
{
    generation *g = q->user;
    pthread_mutex_lock(&g->lock);
    g->prefilled = done;
    pthread_cond_signal(&g->arrived);
    pthread_mutex_unlock(&g->lock);
}

static void drive(void *arg);

static void drive_again(nexus_model *m, bool more)
{
    m->driving = more;
    if (more)
        engine_post(drive, m);
}

/* Tells the callers whose sequences have ended. */
static void end_generation(generation *g)
{
    pthread_mutex_lock(&g->lock);
    g->ended = true;
    pthread_cond_signal(&g->arrived);
    pthread_mutex_unlock(&g->lock);
}

static void drive(void *arg)
{
    nexus_model *m = arg;
    drive_again(m, scheduler_step(m->scheduler));
}

static void sequence_ended(sequence *q)
{
    end_generation(q->user);
}

/* What a prompt shares with the old tokens; at least one token is left to compute. */
static size_t shared_prefix(const nexus_session *s, const int32_t *prompt, size_t count)
{
    size_t most = (size_t)s->cache.length, n = 0;
    most = most < count - 1 ? most : count - 1;
    while (n < most && s->tokens.at[n] == prompt[n])
        n++;
    return n;
}

/* A session of the same model that holds more of the prompt than this one; *shared: how much. */
static nexus_session *better_holder(nexus_session *s, const generation *g, size_t *shared)
{
    enum { WORTH = 16 }; /* tokens */
    nexus_session *best = NULL;
    for (size_t i = 0; i < s->model->sessions.n; i++) {
        nexus_session *o = s->model->sessions.at[i];
        if (o == s || o->cache.form != s->cache.form)
            continue;
        pthread_mutex_lock(&o->kept);
        size_t n = shared_prefix(o, g->prompt, g->count);
        if (n >= *shared + WORTH && nn_cache_holds(&o->cache, (int)n)) {
            best = o;
            *shared = n;
        }
        pthread_mutex_unlock(&o->kept);
    }
    return best;
}

static bool copy_prefix(nexus_session *s, nexus_session *from, size_t n)
{
    nn c;
    nn_init(&c);
    pthread_mutex_lock(&from->kept);
    bool ok = (size_t)from->cache.length >= n && nn_cache_copy(&c, &s->cache, &from->cache, (int)n);
    pthread_mutex_unlock(&from->kept);
    nn_clear(&c);
    return ok;
}

static void truncate_draft(nexus_session *s, size_t n)
{
    if (s->draft && (size_t)s->draft_cache.length > n)
        nn_cache_truncate(&s->draft_cache, (int)n);
}

/* Engine thread: the cache keeps what the prompt shares with it, or gets more from another session. */
static void reuse_prefix(generation *g)
{
    nexus_session *s = g->session;
    size_t mine = shared_prefix(s, g->prompt, g->count), n = mine;
    nexus_session *from = better_holder(s, g, &n);
    truncate_draft(s, mine);
    nn_cache_expect(&s->cache, (int)g->count);
    if (from && copy_prefix(s, from, n))
        g->cached = n;
    else /* a copy for which there is no memory has emptied the cache */
        g->cached = (size_t)nn_cache_truncate(&s->cache, s->cache.length ? (int)mine : 0);
    s->tokens.n = 0;
    nx_vec_reserve(&s->tokens, g->count);
    memcpy(s->tokens.at, g->prompt, g->count * sizeof *g->prompt);
    s->tokens.n = g->count;
}

static void join_sessions(nexus_session *s)
{
    nexus_model *m = s->model;
    for (size_t i = 0; i < m->sessions.n; i++)
        if (m->sessions.at[i] == s)
            return;
    nx_vec_push(&m->sessions, s);
}

static void start_generation(void *arg)
{
    generation *g = arg;
    nexus_model *m = g->session->model;
    join_sessions(g->session);
    reuse_prefix(g);
    scheduler_add(m->scheduler, &g->sequence);
    if (!m->driving)
        drive_again(m, true);
}

size_t nexus_session_shared(nexus_session *s, const int32_t *prompt, size_t count)
{
    pthread_mutex_lock(&s->use);
    size_t n = count ? shared_prefix(s, prompt, count) : 0;
    pthread_mutex_unlock(&s->use);
    return n;
}

int nexus_session_context(const nexus_session *s)
{
    return s->context;
}

/* The calling thread's side: text, stop strings, callbacks. */
typedef struct {
    generation *g;
    detok detok;
    stopper stopper;
    nx_str text, out;
    nexus_piece_fn piece;
    void *user;
    size_t accepted; /* tokens that are part of the answer */
    bool stopped;    /* by a stop string or the callback */
    double last;     /* when the last token was taken */
} reader;

static bool hand_out(reader *r, int32_t id, float logprob, const candidate_vec *top)
{
    nexus_piece p = {nx_str_cstr(&r->out), r->out.len, id, logprob, top ? top->at : NULL,
                     top ? top->n : 0};
    bool go_on = !r->piece || r->piece(&p, r->user);
    nx_str_truncate(&r->out, 0);
    return go_on;
}

static void read_token(reader *r, token_item item, const candidate_vec *top)
{
    generation *g = r->g;
    const tokenizer *t = g->session->model->tokenizer;
    r->accepted++;
    r->last = nx_os_seconds();
    nx_str_truncate(&r->text, 0);
    bool silent = g->options->special_text && tok_is_eog(t, item.id);
    if (!silent && !detok_push(&r->detok, item.id, &r->text))
        nx_str_truncate(&r->text, 0); /* an id without text: a padding row of the vocabulary */
    bool stop = stopper_push(&r->stopper, nx_str_cstr(&r->text), r->text.len, &r->out);
    if (stop)
        g->stop_reason = "stop";
    if (!hand_out(r, item.id, item.logprob, top) && !stop) {
        stop = true;
        g->stop_reason = "cancelled";
    }
    if (stop) {
        r->stopped = true;
        atomic_store(&g->session->cancel, true);
    }
}

/* With the lock held, which is let go while the caller is told. */
static void read_progress(reader *r)
{
    generation *g = r->g;
    double fraction = (double)g->prefilled / (double)g->sequence.prompt_end;
    g->reported = g->prefilled;
    pthread_mutex_unlock(&g->lock);
    if (g->options->prefill && !g->options->prefill(fraction, r->user))
        atomic_store(&g->session->cancel, true);
    pthread_mutex_lock(&g->lock);
}

/* Takes tokens until the sequence has ended. After a stop, what still comes is dropped. */
static void read_all(reader *r)
{
    generation *g = r->g;
    candidate_vec top = {0};
    pthread_mutex_lock(&g->lock);
    for (;;) {
        while (g->taken == g->items.n && !g->ended && g->reported == g->prefilled)
            pthread_cond_wait(&g->arrived, &g->lock);
        if (g->reported != g->prefilled) {
            read_progress(r);
            continue;
        }
        if (g->taken == g->items.n)
            break;
        token_item item = g->items.at[g->taken];
        size_t n_top = (size_t)g->sequence.n_top;
        top.n = 0; /* copied: the list may move while the caller looks at it */
        for (size_t i = 0; i < n_top; i++)
            nx_vec_push(&top, g->top.at[g->taken * n_top + i]);
        g->taken++;
        pthread_mutex_unlock(&g->lock);
        if (!r->stopped)
            read_token(r, item, &top);
        pthread_mutex_lock(&g->lock);
    }
    pthread_mutex_unlock(&g->lock);
    nx_vec_clear(&top);
}

static void read_rest(reader *r)
{
    if (r->stopped)
        return;
    nx_str_truncate(&r->text, 0);
    detok_flush(&r->detok, &r->text);
    if (r->text.len && stopper_push(&r->stopper, nx_str_cstr(&r->text), r->text.len, &r->out))
        r->g->stop_reason = "stop";
    stopper_flush(&r->stopper, &r->out);
    if (r->out.len)
        hand_out(r, -1, 0, NULL);
}

static void fill_stats(const generation *g, const reader *r, nexus_stats *out)
{
    const sequence *q = &g->sequence;
    *out = (nexus_stats){.prompt_tokens = q->prompt_end, .cached_tokens = g->cached,
                         .generated_tokens = r->accepted, .drafted_tokens = g->draft.drafted,
                         .accepted_tokens = g->draft.accepted, .peak_memory_bytes = nx_os_rss_peak()};
    if (g->first_token > 0) {
        out->prefill_seconds = out->time_to_first_token_seconds = g->first_token - g->started;
        out->decode_seconds = r->last > g->first_token ? r->last - g->first_token : 0;
    }
    snprintf(out->stop_reason, sizeof out->stop_reason, "%s",
             g->stop_reason ? g->stop_reason : "cancelled");
    if (strcmp(out->stop_reason, "stop") == 0 && r->stopper.found)
        snprintf(out->stop_text, sizeof out->stop_text, "%s", r->stopper.found);
}

static void forget_after(nexus_session *s, size_t n)
{
    pthread_mutex_lock(&s->kept);
    s->tokens.n = n;
    if ((size_t)s->cache.length > n)
        nn_cache_truncate(&s->cache, (int)n);
    truncate_draft(s, (size_t)s->cache.length);
    pthread_mutex_unlock(&s->kept);
}

static nexus_status run_generation(generation *g, nexus_piece_fn piece, void *user, nexus_stats *stats)
{
    nexus_session *s = g->session;
    reader r = {.g = g, .piece = piece, .user = user};
    detok_init(&r.detok, s->model->tokenizer, g->options->special_text);
    stopper_init(&r.stopper, g->options->stop, g->options->stop_count);
    g->started = nx_os_seconds();
    engine_post(start_generation, g);
    read_all(&r);
    nexus_status status = NEXUS_OK;
    if (g->sequence.failed) {
        nx_fail("%s", g->sequence.message);
        status = strstr(g->sequence.message, "[malloc]") ? NEXUS_ERROR_MEMORY : NEXUS_ERROR;
        forget_after(s, 0);
    } else {
        read_rest(&r);
        /* Tokens after a stop string are not part of the conversation. */
        forget_after(s, g->sequence.prompt_end + r.accepted);
        if (stats)
            fill_stats(g, &r, stats);
    }
    detok_clear(&r.detok);
    stopper_clear(&r.stopper);
    nx_str_clear(&r.text);
    nx_str_clear(&r.out);
    return status;
}

static nexus_status check_prompt(const nexus_session *s, const int32_t *prompt, size_t count)
{
    if (count == 0) {
        nx_fail("the prompt is empty: there is nothing to continue");
        return NEXUS_ERROR_ARGUMENT;
    }
    if (count >= (size_t)s->context) {
        nx_fail("the prompt has %zu tokens, which does not fit a context of %d with room for an "
                "answer: shorten it%s", count, s->context,
                s->context < s->model->model->max_context ? " or ask for a larger context" : "");
        return NEXUS_ERROR_CONTEXT;
    }
    for (size_t i = 0; i < count; i++)
        if (prompt[i] < 0 || prompt[i] >= s->model->model->vocab_size) {
            nx_fail("token id %d is not in the model's vocabulary of %d", prompt[i],
                    s->model->model->vocab_size);
            return NEXUS_ERROR_ARGUMENT;
        }
    return NEXUS_OK;
}

static nexus_status check_drafts(const nexus_session *s, const nexus_generate_options *o)
{
    if (o->draft_tokens < -1 || o->draft_tokens > DRAFT_MOST) {
        nx_fail("draft_tokens %d is not between -1 and %d", o->draft_tokens, DRAFT_MOST);
        return NEXUS_ERROR_ARGUMENT;
    }
    if (!o->lookup || o->draft_tokens < 0 || nexus_model_takes_drafts(s->model))
        return NEXUS_OK;
    nx_fail("%s (%s) cannot speculate: what its layers keep of a text knows no way back",
            s->model->package.name, s->model->package.arch);
    return NEXUS_ERROR_UNSUPPORTED;
}

static uint64_t fresh_seed(void)
{
    static _Atomic uint64_t turn;
    return nx_os_monotonic_ns() ^ (uint64_t)nx_os_wall_ms() << 20 ^ atomic_fetch_add(&turn, 1) << 48;
}

/* ---- grammars ---- */

struct nexus_grammar {
    grammar *program;
};

nexus_status nexus_grammar_new(nexus_grammar_kind kind, const char *text, size_t length,
                               nexus_grammar **out)
{
    grammar *g = NULL;
    switch (kind) {
    case NEXUS_GRAMMAR_JSON: g = grammar_any_json(); break;
    case NEXUS_GRAMMAR_SCHEMA: g = grammar_from_schema(text, length); break;
    case NEXUS_GRAMMAR_REGEX: g = grammar_from_regex(text, length); break;
    case NEXUS_GRAMMAR_GBNF: g = grammar_from_gbnf(text, length); break;
    }
    if (!g)
        return NEXUS_ERROR_ARGUMENT;
    *out = nx_calloc(1, sizeof **out);
    (*out)->program = g;
    return NEXUS_OK;
}

void nexus_grammar_free(nexus_grammar *g)
{
    if (!g)
        return;
    grammar_free(g->program);
    free(g);
}

static vocabulary *model_vocabulary(nexus_model *m)
{
    pthread_mutex_lock(&m->vocabulary_lock);
    if (!m->vocabulary)
        m->vocabulary = vocabulary_new(m->tokenizer);
    pthread_mutex_unlock(&m->vocabulary_lock);
    return m->vocabulary;
}

/* A generation's grammar, asleep until the text it comes after. */
typedef struct {
    sampler_constraint hooks;
    const tokenizer *tokenizer;
    matcher *matcher;
    const char *after; /* NULL: awake */
    nx_str text;       /* so far, while asleep */
    uint64_t *all;     /* a mask that allows everything */
} constraint;

static const uint64_t *constraint_mask(void *user)
{
    constraint *c = user;
    return c->after ? c->all : matcher_mask(c->matcher);
}

static void constraint_accept(void *user, int32_t id)
{
    constraint *c = user;
    if (!c->after) {
        matcher_accept(c->matcher, id);
        return;
    }
    nx_slice s = tok_piece(c->tokenizer, id);
    nx_str_add(&c->text, s.data, s.len);
    if (strstr(nx_str_cstr(&c->text), c->after))
        c->after = NULL;
}

static void constraint_init(constraint *c, nexus_model *m, const nexus_generate_options *o)
{
    size_t words = ((size_t)m->model->vocab_size + 63) / 64;
    c->hooks = (sampler_constraint){constraint_mask, constraint_accept, c};
    c->tokenizer = m->tokenizer;
    c->after = o->grammar_after;
    c->matcher = matcher_new(o->grammar->program, model_vocabulary(m), m->model->vocab_size);
    c->all = nx_malloc(words * sizeof *c->all);
    memset(c->all, 0xFF, words * sizeof *c->all);
}

static void constraint_clear(constraint *c)
{
    matcher_free(c->matcher);
    nx_str_clear(&c->text);
    free(c->all);
}

static sampler *make_sampler(const nexus_session *s, const nexus_generate_options *o,
                             const constraint *c)
{
    _Static_assert(sizeof(nexus_bias) == sizeof(sampler_bias), "one is handed on as the other");
    sampler_options so = {
        .temperature = o->temperature,
        .top_k = o->top_k,
        .top_p = o->top_p,
        .min_p = o->min_p,
        .typical_p = o->typical_p,
        .xtc_probability = o->xtc_probability,
        .xtc_threshold = o->xtc_threshold,
        .repeat_penalty = o->repeat_penalty,
        .presence_penalty = o->presence_penalty,
        .frequency_penalty = o->frequency_penalty,
        .penalty_window = o->penalty_window,
        .dry_multiplier = o->dry_multiplier,
        .dry_base = o->dry_base,
        .dry_allowed_length = o->dry_allowed_length,
        .dry_window = o->dry_window,
        .mirostat = o->mirostat,
        .mirostat_tau = o->mirostat_tau,
        .mirostat_eta = o->mirostat_eta,
        .bias = (const sampler_bias *)o->bias,
        .n_bias = o->bias_count,
        .constraint = c->matcher ? &c->hooks : NULL,
        .seed = o->seed ? o->seed : fresh_seed(),
    };
    if (o->top_logprobs < 0 || o->top_logprobs > SAMPLER_TOP_MOST)
        return nx_fail_null("top_logprobs %d is not between 0 and %d", o->top_logprobs,
                            SAMPLER_TOP_MOST);
    return sampler_new(&so, s->model->model->vocab_size);
}

nexus_status nexus_generate(nexus_session *s, const int32_t *prompt, size_t count,
                            const nexus_generate_options *options, nexus_piece_fn piece, void *user,
                            nexus_stats *stats)
{
    nexus_generate_options defaults = nexus_generate_defaults();
    generation g = {.session = s, .options = options ? options : &defaults, .prompt = prompt,
                    .count = count};
    pthread_mutex_lock(&s->use);
    nexus_status status = check_prompt(s, prompt, count);
    if (!status)
        status = check_drafts(s, g.options);
    constraint form = {0};
    if (!status && g.options->grammar)
        constraint_init(&form, s->model, g.options);
    if (!status && !(g.sampler = make_sampler(s, g.options, &form)))
        status = NEXUS_ERROR_ARGUMENT;
    if (!status) {
        bool drafts = g.options->draft_tokens >= 0 && nexus_model_takes_drafts(s->model) &&
                      (s->draft || g.options->lookup);
        atomic_store(&s->cancel, false);
        draft_init(&g.draft, g.options->lookup, s->draft ? s->draft->model : NULL, &s->draft_cache,
                   g.options->draft_tokens);
        g.sequence = (sequence){.cache = &s->cache, .tokens = &s->tokens, .sampler = g.sampler,
                                .draft = drafts ? &g.draft : NULL, .logprobs = g.options->logprobs,
                                .n_top = g.options->top_logprobs, .cancel = &s->cancel,
                                .on_token = token_arrived,
                                .on_prefill = prompt_moved, .on_end = sequence_ended, .user = &g};
        pthread_mutex_init(&g.lock, NULL);
        pthread_cond_init(&g.arrived, NULL);
        status = run_generation(&g, piece, user, stats);
        pthread_cond_destroy(&g.arrived);
        pthread_mutex_destroy(&g.lock);
        nx_vec_clear(&g.items);
        nx_vec_clear(&g.top);
    }
    sampler_free(g.sampler);
    constraint_clear(&form);
    pthread_mutex_unlock(&s->use);
    return status;
}

static nexus_status generate_from_text(nexus_session *s, const char *text, bool add_special,
                                       const nexus_generate_options *options, nexus_piece_fn piece,
                                       void *user, nexus_stats *stats)
{
    int32_t *ids;
    size_t count, replaced = 0;
    nexus_status status =
        nexus_tokenize(s->model, text, strlen(text), add_special, true, &ids, &count, &replaced);
    if (status)
        return status;
    status = nexus_generate(s, ids, count, options, piece, user, stats);
    free(ids);
    return status;
}

nexus_status nexus_complete(nexus_session *s, const char *text,
                            const nexus_generate_options *options, nexus_piece_fn piece, void *user,
                            nexus_stats *stats)
{
    return generate_from_text(s, text, true, options, piece, user, stats);
}

nexus_status nexus_chat(nexus_session *s, const nexus_message *messages, size_t count,
                        const nexus_generate_options *options, nexus_piece_fn piece, void *user,
                        nexus_stats *stats)
{
    char *prompt;
    nexus_status status = nexus_render(s->model, messages, count, &prompt);
    if (status)
        return status;
    /* The template writes the special tokens itself. */
    status = generate_from_text(s, prompt, false, options, piece, user, stats);
    free(prompt);
    return status;
}
