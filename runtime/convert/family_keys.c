#include "runtime/convert/family_keys.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "runtime/models/decoder.h"

/* Of several keys the last: the one that every reader knows. */
static const char *key_of(const config_row *r)
{
    const char *last = r->gguf ? strrchr(r->gguf, '|') : NULL;
    return last ? last + 1 : r->gguf;
}

static double value_of(const model *m, const config_row *r)
{
    const char *at = (const char *)m + r->offset;
    switch (r->type) {
    case CONFIG_INT: return *(const int *)(const void *)at;
    case CONFIG_FLOAT: return (double)*(const float *)(const void *)at;
    case CONFIG_BOOL: return *(const bool *)(const void *)at;
    }
    return 0;
}

static bool has_key(const config_row *r, const char *key)
{
    size_t n = strlen(key);
    for (const char *at = r->gguf; at; at = strchr(at, '|') ? strchr(at, '|') + 1 : NULL)
        if (strcspn(at, "|") == n && strncmp(at, key, n) == 0)
            return true;
    return false;
}

bool family_member(const model *m, const char *key, double *out)
{
    for (int i = 0; i < m->arch->n_config; i++)
        if (has_key(&m->arch->config[i], key)) {
            *out = value_of(m, &m->arch->config[i]);
            return true;
        }
    return false;
}

static bool put(nx_gguf_writer *w, const char *arch, const config_row *r, double v)
{
    char key[128];
    snprintf(key, sizeof key, "%s.%s", arch, key_of(r));
    if (r->type == CONFIG_BOOL)
        return nx_gguf_writer_bool(w, key, v != 0);
    return r->type == CONFIG_FLOAT ? nx_gguf_writer_f32(w, key, (float)v)
                                   : v <= 0 || nx_gguf_writer_u32(w, key, (uint32_t)v); /* 0: there is none */
}

bool family_heads_differ(const model *m)
{
    for (int i = 1; i < m->n_layers; i++)
        if (!m->caches[i].heads != !m->caches[0].heads)
            return true;
    return false;
}

bool family_networks_differ(const model *m)
{
    unsigned mixers = LAYER_ATTENTION | LAYER_RECURRENT, networks = LAYER_DENSE | LAYER_MOE;
    bool either = family_heads_differ(m);
    for (int i = 0; i < m->n_layers; i++)
        either = either && !(m->kinds[i] & mixers) != !(m->kinds[i] & networks);
    return either;
}

static bool put_list(nx_gguf_writer *w, const char *arch, const char *name, const int32_t *v, int n)
{
    char key[128];
    snprintf(key, sizeof key, "%s.%s", arch, name);
    return nx_gguf_writer_array(w, key, NX_GGUF_I32, v, (uint64_t)n);
}

/* Heads of each layer; and where layers are either attention or a network, the network's width. */
static bool put_layers(const plan *p, nx_gguf_writer *w)
{
    const model *m = p->m;
    if (!family_heads_differ(m))
        return true;
    int32_t *v = nx_calloc((size_t)m->n_layers, sizeof *v);
    for (int i = 0; i < m->n_layers; i++)
        v[i] = m->caches[i].heads;
    bool ok = put_list(w, p->kin->gguf, "attention.head_count_kv", v, m->n_layers);
    for (int i = 0; i < m->n_layers; i++)
        v[i] = m->kinds[i] & (LAYER_DENSE | LAYER_MOE) ? m->intermediate_size : 0;
    ok = ok && (!family_networks_differ(m) || put_list(w, p->kin->gguf, "feed_forward_length", v, m->n_layers));
    free(v);
    return ok;
}

static bool put_whole(const plan *p, nx_gguf_writer *w, const char *name, uint32_t v)
{
    char key[128];
    snprintf(key, sizeof key, "%s.%s", p->kin->gguf, name);
    return nx_gguf_writer_u32(w, key, v);
}

/* What follows from shapes: a state space's width, the kinds of texts. */
static bool put_shapes(const plan *p, nx_gguf_writer *w)
{
    uint32_t inner = 0, types = 0;
    for (size_t i = 0; i < p->items.n; i++) {
        const item *t = &p->items.at[i];
        if (strcmp(plan_role(t), "ssm_out.weight") == 0)
            inner = (uint32_t)t->cols;
        if (strcmp(plan_role(t), "token_types.weight") == 0)
            types = (uint32_t)t->rows;
    }
    return (!inner || put_whole(p, w, "ssm.inner_size", inner)) &&
           (!types || nx_gguf_writer_u32(w, "tokenizer.ggml.token_type_count", types));
}

/* A router of sigmoids, where GGUF's readers would take the softmax. */
static bool put_router(const plan *p, nx_gguf_writer *w)
{
    enum { SIGMOID = 2 };
    const decoder *d = (const decoder *)p->m;
    bool told = p->m->arch->size >= sizeof *d && p->m->n_experts && d->router.sigmoid;
    return !told || put_whole(p, w, "expert_gating_func", SIGMOID);
}

bool family_put_keys(const plan *p, nx_gguf_writer *w, bool (*shared)(const char *key))
{
    const model_arch *a = p->m->arch;
    char key[128];
    bool ok = true;
    bool experts = false;
    for (int i = 0; i < p->m->n_layers; i++)
        experts = experts || p->m->kinds[i] & LAYER_MOE;
    for (int i = 0; i < a->n_config && ok; i++)
        if (a->config[i].gguf && !shared(key_of(&a->config[i])) &&
            (experts || strncmp(a->config[i].gguf, "expert_", 7) != 0))
            ok = put(w, p->kin->gguf, &a->config[i], value_of(p->m, &a->config[i]));
    snprintf(key, sizeof key, "%s.attention.causal", p->kin->gguf);
    return ok && put_layers(p, w) && put_shapes(p, w) && put_router(p, w) &&
           (!a->encoder || nx_gguf_writer_bool(w, key, false));
}
