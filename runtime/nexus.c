/*
 * nexus.c: generation: how tokens cross from the engine's thread to the caller's.
 *
 * The engine thread (nn/engine.h) runs the scheduler; a generation hands its tokens over in a queue,
 * from which the calling thread takes them, makes text and calls back. Models are open.c's, what a
 * session remembers session.c's, the form of an answer form.c's.
 */
#include "nexus/nexus.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/os.h"
#include "runtime/form.h"
#include "runtime/generate/stopper.h"
#include "runtime/nn/engine.h"
#include "runtime/session.h"
#include "runtime/text/detok.h"

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

/* ---- the engine thread's side ---- */

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
    double told; /* when the caller's thread was last woken for a token */
    const char *stop_reason; /* the engine's; NULL: it was told to end */
} generation;

/* A caller's thread that wakes takes a processor from the engine's threads: of tokens that come faster than this
 * several are handed over at once. The first one and the end never wait. */
static const double TELL_SECONDS = 0.02;

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
    double now = nx_os_seconds();
    pthread_mutex_lock(&g->lock);
    if (g->first_token == 0)
        g->first_token = now;
    nx_vec_push(&g->items, (token_item){id, logprob});
    for (int i = 0; i < q->n_top; i++)
        nx_vec_push(&g->top, (nexus_candidate){top[i].id, top[i].logprob});
    if (now - g->told >= TELL_SECONDS) {
        g->told = now;
        pthread_cond_signal(&g->arrived);
    }
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

static void start_generation(void *arg)
{
    generation *g = arg;
    nexus_model *m = g->session->model;
    session_join(g->session);
    g->cached = session_reuse(g->session, g->prompt, g->count);
    scheduler_add(m->scheduler, &g->sequence);
    if (!m->driving)
        drive_again(m, true);
}

/* ---- the calling thread's side: text, stop strings, callbacks ---- */

typedef struct {
    generation *g;
    detok detok;
    stopper stopper;
    nx_str text, out;
    nexus_piece_fn piece;
    void *user;
    size_t accepted; /* tokens that are part of the answer */
    bool stopped;    /* by a stop string or the callback, whatever the engine did meanwhile */
    const char *stop_reason; /* NULL: the engine's */
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
        r->stop_reason = "stop";
    if (!hand_out(r, item.id, item.logprob, top) && !stop) {
        stop = true;
        r->stop_reason = "cancelled";
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
        r->stop_reason = "stop";
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
    const char *why = r->stop_reason ? r->stop_reason : g->stop_reason;
    snprintf(out->stop_reason, sizeof out->stop_reason, "%s", why ? why : "cancelled");
    if (strcmp(out->stop_reason, "stop") == 0 && r->stopper.found)
        snprintf(out->stop_text, sizeof out->stop_text, "%s", r->stopper.found);
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
        session_forget_after(s, 0);
    } else {
        read_rest(&r);
        /* Tokens after a stop string are not part of the conversation. */
        session_forget_after(s, g->sequence.prompt_end + r.accepted);
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

static sampler *make_sampler(const nexus_session *s, const nexus_generate_options *o,
                             const form *f)
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
        .constraint = f->matcher ? &f->hooks : NULL,
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
    form f = {0};
    if (!status && g.options->grammar)
        form_init(&f, s->model, g.options);
    if (!status && !(g.sampler = make_sampler(s, g.options, &f)))
        status = NEXUS_ERROR_ARGUMENT;
    if (!status) {
        bool drafts = g.options->draft_tokens >= 0 && nexus_model_takes_drafts(s->model) &&
                      (s->draft || g.options->lookup);
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
    form_clear(&f);
    atomic_store(&s->cancel, false); /* it was this one's */
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
