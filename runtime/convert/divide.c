#include "runtime/convert/divide.h"

#include <string.h>

#include "base/error.h"

/* The row whose first name in GGUF is this one. */
static const weight_row *row_named(const model_arch *a, const char *name, size_t n)
{
    for (int i = 0; i < a->n_weights; i++) {
        const char *gguf = a->weights[i].gguf;
        if (gguf && strncmp(gguf, name, n) == 0 && (!gguf[n] || gguf[n] == '|'))
            return &a->weights[i];
    }
    NX_BUG_IF(true);
    return NULL;
}

bool item_divides(const item *t, const model_arch *a, bool to_gguf)
{
    const char *names = t->row->gguf;
    if (!names || !strchr(names, '&'))
        return false;
    const weight_row *first = row_named(a, names, strcspn(names, "&"));
    return to_gguf || first->hf;
}

/* The next of several names; NULL after the last. */
static const char *next_name(const char *at)
{
    at += strcspn(at, "&");
    return *at && at[1] ? at + 1 : NULL;
}

bool item_is_share(const item *t, const model_arch *a)
{
    const char *own = t->row->gguf;
    for (int i = 0; own && i < a->n_weights; i++) {
        const char *names = a->weights[i].gguf;
        for (const char *at = names && strchr(names, '&') ? names : NULL; at; at = next_name(at))
            if (strcspn(at, "&") == strlen(own) && strncmp(at, own, strlen(own)) == 0)
                return true;
    }
    return false;
}

static int count_names(const char *names)
{
    int n = 0;
    for (const char *at = names; at; at = next_name(at))
        n++;
    return n;
}

/* The shape must be the settings' before anything is taken out of it. */
static bool can_share(const item *t, const model *m)
{
    const weight_row *row = t->stored;
    int experts = row->flags & WEIGHT_EXPERTS ? m->n_experts : 0;
    int64_t rows = *(const int *)((const char *)m + (row->rows ? row->rows : row->cols));
    rows *= experts ? experts : 1;
    return (item_rows(t) == rows && t->experts == experts && t->vector == !row->rows) ||
           nx_fail("[%s] '%s' has %lld rows, the settings say %lld", m->arch->name, t->parts[0].name,
                   (long long)item_rows(t), (long long)rows);
}

/* Rows of the share'th of n. */
static void take_share(item *t, const model *m, int share, int n)
{
    int64_t q = m->n_heads / m->n_kv_heads, d = m->head_dim; /* of each KV head: q heads, one of k, one of v */
    t->every = n == 3 ? (q + 2) * d : 2;
    t->take = n == 2 ? 1 : share ? d : q * d;
    t->skip = n == 2 ? share : share ? (q + share - 1) * d : 0;
    if (!t->turned)
        t->rows = t->rows / t->every * t->take;
}

/* Adds the shares to out; the item is theirs. */
static bool divide(item_vec *out, item *t, const model *m)
{
    const char *at = t->row->gguf;
    int n = count_names(at);
    if (!can_share(t, m))
        return false;
    for (int i = 0; i < n; i++, at = next_name(at)) {
        item share = item_copy(t);
        share.row = row_named(m->arch, at, strcspn(at, "&"));
        if (n > 1)
            take_share(&share, m, i, n);
        nx_vec_push(out, share);
    }
    return true;
}

bool items_divide(item_vec *items, const model *m, bool (*which)(const void *arg, const item *t), const void *arg)
{
    item_vec all = *items, rest = {0};
    bool ok = true;
    *items = (item_vec){0};
    for (size_t i = 0; i < all.n; i++) {
        item *t = &all.at[i];
        bool divided = which(arg, t);
        ok = ok && (!divided || divide(items, t, m));
        nx_vec_push(divided ? &rest : items, *t);
    }
    items_clear(&rest);
    nx_vec_clear(&all);
    return ok;
}
