#include "runtime/form.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"

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

static const uint64_t *form_mask(void *user)
{
    form *f = user;
    return f->after ? f->all : matcher_mask(f->matcher);
}

static bool form_accept(void *user, int32_t id)
{
    form *f = user;
    if (!f->after)
        return matcher_accept(f->matcher, id);
    nx_slice s = tok_piece(f->tokenizer, id);
    nx_str_add(&f->text, s.data, s.len);
    if (strstr(nx_str_cstr(&f->text), f->after))
        f->after = NULL;
    return true;
}

static void form_mark(void *user)
{
    form *f = user;
    f->marked_after = f->after;
    f->marked_length = f->text.len;
    matcher_mark(f->matcher);
}

static void form_back(void *user)
{
    form *f = user;
    f->after = f->marked_after;
    nx_str_truncate(&f->text, f->marked_length);
    matcher_back(f->matcher);
}

void form_init(form *f, nexus_model *m, const nexus_generate_options *o)
{
    size_t words = ((size_t)m->model->vocab_size + 63) / 64;
    f->hooks = (sampler_constraint){form_mask, form_accept, form_mark, form_back, f};
    f->tokenizer = m->tokenizer;
    f->after = o->grammar_after;
    f->matcher = matcher_new(o->grammar->program, model_vocabulary(m), m->model->vocab_size);
    f->all = nx_malloc(words * sizeof *f->all);
    memset(f->all, 0xFF, words * sizeof *f->all);
}

void form_clear(form *f)
{
    matcher_free(f->matcher);
    nx_str_clear(&f->text);
    free(f->all);
}
