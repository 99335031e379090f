#include "runtime/text/prefixes.h"

#include <string.h>

#include "base/error.h"

void pfx_add(pfx_table *p, const char *s, size_t n, int32_t value)
{
    NX_BUG_IF(n > UINT32_MAX || value < 0);
    if (n) /* an empty string is the prefix of everything: of no use to anyone */
        nx_vec_push(&p->items, (pfx_item){s, (uint32_t)n, value});
}

static int compare(const void *pa, const void *pb)
{
    const pfx_item *a = pa, *b = pb;
    int c = memcmp(a->data, b->data, a->len < b->len ? a->len : b->len);
    return c ? c : (a->len > b->len) - (a->len < b->len);
}

/* Sorting is by halves merged, so that equal strings keep their order. */
static void sort(pfx_item *items, size_t n, pfx_item *scratch)
{
    if (n < 2)
        return;
    size_t half = n / 2;
    sort(items, half, scratch);
    sort(items + half, n - half, scratch);
    memcpy(scratch, items, half * sizeof *items);
    size_t a = 0, b = half, to = 0;
    while (a < half && b < n)
        items[to++] = compare(&scratch[a], &items[b]) <= 0 ? scratch[a++] : items[b++];
    while (a < half)
        items[to++] = scratch[a++];
}

void pfx_finish(pfx_table *p)
{
    pfx_item *scratch = nx_malloc((p->items.n / 2 + 1) * sizeof *scratch);
    sort(p->items.at, p->items.n, scratch);
    free(scratch);
    size_t n = 0;
    for (size_t i = 0; i < p->items.n; i++)
        if (!n || compare(&p->items.at[n - 1], &p->items.at[i]) != 0)
            p->items.at[n++] = p->items.at[i];
    p->items.n = n;
    size_t i = 0;
    for (unsigned b = 0; b <= 256; b++) {
        while (i < n && (unsigned char)p->items.at[i].data[0] < b)
            i++;
        p->first[b] = (uint32_t)i;
    }
}

void pfx_clear(pfx_table *p)
{
    nx_vec_clear(&p->items);
}

/* The first item of [lo, hi) whose byte at depth is at least b (all are longer than depth). */
static uint32_t lower_bound(const pfx_item *items, uint32_t lo, uint32_t hi, uint32_t depth,
                            unsigned b)
{
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if ((unsigned char)items[mid].data[depth] < b)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

bool pfx_step(const pfx_table *p, pfx_cursor *c, char byte)
{
    unsigned b = (unsigned char)byte;
    if (c->depth == 0) {
        c->lo = p->first[b];
        c->hi = p->first[b + 1];
    } else {
        /* what ends here sorts first */
        uint32_t lo = c->lo + (c->lo < c->hi && p->items.at[c->lo].len == c->depth);
        c->lo = lower_bound(p->items.at, lo, c->hi, c->depth, b);
        c->hi = lower_bound(p->items.at, c->lo, c->hi, c->depth, b + 1);
    }
    c->depth++;
    return c->lo < c->hi;
}
