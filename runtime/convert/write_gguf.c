/* write_gguf.c: a GGUF file, or its parts. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/ggml_types.h"
#include "runtime/convert/settings.h"
#include "runtime/convert/vocab.h"
#include "runtime/convert/write.h"
#include "runtime/models/decoder.h"

/* Tensors that the settings become. */
typedef struct {
    const char *name;
    float *numbers;
    size_t n;
} made;

static const char *const made_names[] = {"rope_freqs.weight", "rope_factors_long.weight",
                                         "rope_factors_short.weight"};
enum { MADE = sizeof made_names / sizeof *made_names };

static bool declare(nx_gguf_writer *w, const out_tensor *o)
{
    uint64_t ne[8];
    for (int i = 0; i < o->ndim; i++)
        ne[i] = o->shape[o->ndim - 1 - i];
    return nx_gguf_writer_tensor(w, o->name, nx_ggml_type_find((uint32_t)o->as.type), o->ndim, ne);
}

static bool write_to(void *arg, const void *bytes, size_t n)
{
    return nx_gguf_writer_data(arg, bytes, n);
}

static bool split_keys(nx_gguf_writer *w, size_t part, const shard_ends *shards, int tensors)
{
    uint16_t no = (uint16_t)part, count = (uint16_t)shards->n;
    return nx_gguf_writer_scalar(w, "split.no", NX_GGUF_U16, &no) &&
           nx_gguf_writer_scalar(w, "split.count", NX_GGUF_U16, &count) &&
           nx_gguf_writer_i32(w, "split.tensors.count", tensors);
}

static bool metadata(const plan *p, nx_gguf_writer *w)
{
    return settings_metadata(p, w) &&
           (p->source == TARGET_GGUF || vocab_to_gguf(w, p->from->path, p->from->json, p->m->vocab_size));
}

static bool write_part(emitter *e, const char *path, size_t part, const shard_ends *shards, const made *extra)
{
    const out_vec *all = &e->plan->tensors;
    size_t begin = part ? shards->at[part - 1] : 0, end = shards->at[part], n_extra = part ? 0 : MADE;
    int total = (int)all->n;
    for (int i = 0; i < MADE; i++)
        total += extra[i].n > 0;
    nx_gguf_writer *w = nx_gguf_writer_new(path);
    if (!w)
        return false;
    bool ok = (part || metadata(e->plan, w)) && (shards->n == 1 || split_keys(w, part, shards, total));
    for (size_t i = 0; i < n_extra && ok; i++)
        ok = !extra[i].n || nx_gguf_writer_tensor(w, extra[i].name, nx_ggml_type_find(NX_GGML_F32), 1,
                                                  (uint64_t[]){extra[i].n});
    for (size_t i = begin; i < end && ok; i++)
        ok = declare(w, &all->at[i]);
    for (size_t i = 0; i < n_extra && ok; i++)
        ok = nx_gguf_writer_data(w, extra[i].numbers, extra[i].n * sizeof(float));
    e->sink = write_to;
    e->sink_arg = w;
    for (size_t i = begin; i < end && ok; i++)
        ok = emit_tensor(e, &all->at[i]) || nx_fail_in("[%s]", all->at[i].name);
    ok = ok && nx_gguf_writer_finish(w);
    nx_gguf_writer_free(w);
    return ok;
}

/* A family's window that its architecture in GGUF has no key for is warned of (settings.c), not refused. */
static bool same_layer(const plan *p, const model *said, int i)
{
    const model *m = p->m;
    nn_cache_shape a = m->caches[i], b = said->caches[i];
    unsigned differs = m->kinds[i] ^ said->kinds[i];
    if (strcmp(p->kin->gguf, "llama") == 0) {
        differs &= ~(unsigned)LAYER_WINDOW;
        a.window = b.window;
    }
    return !differs && memcmp(&a, &b, sizeof a) == 0;
}

/* The settings are read back before anything else is written: what GGUF has no key for must not get lost. */
static bool says_the_same(const plan *p, const char *path)
{
    nx_gguf_writer *w = nx_gguf_writer_new(path);
    bool ok = w && settings_metadata(p, w) && nx_gguf_writer_finish(w);
    nx_gguf_writer_free(w);
    nx_gguf *g = ok ? nx_gguf_open(path) : NULL;
    config_source from = {.gguf = g, .arch = p->kin->gguf};
    model *said = g ? model_configure(&from) : NULL;
    ok = said != NULL && said->n_layers == p->m->n_layers;
    for (int i = 0; ok && i < said->n_layers; i++)
        ok = same_layer(p, said, i) || nx_fail("[%s] layer %d is of a kind that GGUF cannot say in this family",
                                               p->from->path, i);
    model_free(said);
    nx_gguf_free(g);
    remove(path);
    return ok;
}

bool write_gguf(emitter *e, const char *folder, const char *name, const shard_ends *shards)
{
    made extra[MADE] = {{0}};
    bool ok = shards->n <= UINT16_MAX || nx_fail("%zu parts are too many: let them be larger", shards->n);
    if (ok && e->plan->source != TARGET_GGUF) {
        nx_str path = {0};
        nx_str_printf(&path, "%s/settings.gguf", folder);
        ok = says_the_same(e->plan, nx_str_cstr(&path));
        nx_str_clear(&path);
    }
    for (size_t i = 0; i < MADE; i++) {
        extra[i].name = made_names[i];
        extra[i].numbers = settings_rope_factors(e->plan, made_names[i], &extra[i].n);
    }
    for (size_t i = 0; i < shards->n && ok; i++) {
        nx_str path = {0};
        if (shards->n == 1)
            nx_str_printf(&path, "%s/%s.gguf", folder, name);
        else
            nx_str_printf(&path, "%s/%s-%05zu-of-%05zu.gguf", folder, name, i + 1, shards->n);
        ok = write_part(e, nx_str_cstr(&path), i, shards, extra);
        nx_str_clear(&path);
    }
    for (size_t i = 0; i < MADE; i++)
        free(extra[i].numbers);
    return ok;
}
