/*
 * sort_tmpl.c: sorting and selecting along an axis.
 *
 * A row becomes items: keys (sort_keys.h), with the place packed below a 32-bit key or beside a
 * 64-bit one where places are wanted. Items are sorted by a radix sort, lowest byte first, which is
 * stable and skips bytes that are the same everywhere; a partition selects by radix, highest byte
 * first, and goes on in the one bucket that holds kth: linear whatever the input. Short rows are
 * sorted by insertion. Rows are shared among threads.
 */
#include <string.h>

#include "engine/cpu/kernels.h"
#include "engine/cpu/pool.h"
#include "engine/cpu/types.h"
#include "engine/ops/params.h"

#include "engine/cpu/sort_keys.h"

enum {
    SHORT_ROW = 32,        /* sorted by insertion */
    STACK_BYTES = 32768,   /* rows whose scratch fits here need no workspace */
    SLOTS = 16,            /* rows at work at once, else */
    TILE = 512,
};

typedef struct {
    uint64_t key, place;
} pair;

#define KEY_PLAIN(x) (x)
#define KEY_PAIR(x) ((x).key)
#define BYTE(KEY, x, shift) (KEY(x) >> (shift) & 0xFF)

/* Bits first..last-1 of the key count. */
#define SORTER(name, ITEM, KEY)                                                                   \
    static void insertion_##name(ITEM *a, int64_t n)                                              \
    {                                                                                             \
        for (int64_t i = 1; i < n; i++) {                                                         \
            ITEM x = a[i];                                                                        \
            int64_t j = i;                                                                        \
            for (; j > 0 && KEY(a[j - 1]) > KEY(x); j--)                                          \
                a[j] = a[j - 1];                                                                  \
            a[j] = x;                                                                             \
        }                                                                                         \
    }                                                                                             \
    /* Sorts a, with b as scratch; returns the one that holds the result. */                      \
    static void *radix_##name(void *items, void *scratch, int64_t n, int first, int last)         \
    {                                                                                             \
        ITEM *a = items, *b = scratch;                                                            \
        if (n <= SHORT_ROW) {                                                                     \
            insertion_##name(a, n);                                                               \
            return a;                                                                             \
        }                                                                                         \
        uint32_t counts[8][256];                                                                  \
        int bytes = (last - first) / 8;                                                           \
        memset(counts, 0, (size_t)bytes * sizeof counts[0]);                                      \
        for (int64_t i = 0; i < n; i++)                                                           \
            for (int d = 0; d < bytes; d++)                                                       \
                counts[d][BYTE(KEY, a[i], first + 8 * d)]++;                                      \
        for (int d = 0; d < bytes; d++) {                                                         \
            int shift = first + 8 * d;                                                            \
            if (counts[d][BYTE(KEY, a[0], shift)] == n)                                           \
                continue;                                                                         \
            uint32_t at = 0;                                                                      \
            for (int k = 0; k < 256; k++) {                                                       \
                uint32_t count = counts[d][k];                                                    \
                counts[d][k] = at;                                                                \
                at += count;                                                                      \
            }                                                                                     \
            for (int64_t i = 0; i < n; i++)                                                       \
                b[counts[d][BYTE(KEY, a[i], shift)]++] = a[i];                                    \
            ITEM *t = a;                                                                          \
            a = b;                                                                                \
            b = t;                                                                                \
        }                                                                                         \
        return a;                                                                                 \
    }                                                                                             \
    static void *select_##name(void *items, void *scratch, int64_t n, int64_t kth, int first, int last) \
    {                                                                                             \
        ITEM *a = items, *b = scratch;                                                            \
        int64_t low = 0, high = n; /* kth is among these, all others are on their side */         \
        for (int shift = last - 8; shift >= first && high - low > SHORT_ROW; shift -= 8) {        \
            uint32_t counts[256] = {0};                                                           \
            for (int64_t i = low; i < high; i++)                                                  \
                counts[BYTE(KEY, a[i], shift)]++;                                                 \
            unsigned bucket = 0;                                                                  \
            int64_t less = 0;                                                                     \
            while (low + less + counts[bucket] <= kth)                                            \
                less += counts[bucket++];                                                         \
            int64_t same = counts[bucket];                                                        \
            if (same != high - low) {                                                             \
                int64_t to[3] = {low, low + less, low + less + same};                             \
                for (int64_t i = low; i < high; i++) {                                            \
                    unsigned digit = (unsigned)BYTE(KEY, a[i], shift);                            \
                    b[to[(digit >= bucket) + (digit > bucket)]++] = a[i];                         \
                }                                                                                 \
                memcpy(a + low, b + low, (size_t)(high - low) * sizeof *a);                       \
            }                                                                                     \
            low += less;                                                                          \
            high = low + same;                                                                    \
        }                                                                                         \
        if (high - low <= SHORT_ROW)                                                              \
            insertion_##name(a + low, high - low);                                                \
        return a;                                                                                 \
    }
SORTER(32, uint32_t, KEY_PLAIN)
SORTER(64, uint64_t, KEY_PLAIN)
SORTER(pair, pair, KEY_PAIR)

typedef struct {
    nx_walk rows; /* views: input and output without the axis */
    int64_t n, in_step, out_step;
    int64_t kth; /* -1: sort */
    bool places;
    bool wide; /* 64-bit keys */
    nx_dtype dtype;
    size_t item; /* bytes */
    int64_t size;
    const char *from;
    char *to, *scratch;
    int64_t to_size, rows_a_slot;
} job;

static void load_items(const job *j, const char *from, char *items)
{
    if (!j->places) {
        encoders[j->dtype](j->n, from, j->in_step, false, items);
        return;
    }
    uint64_t tile[TILE];
    for (int64_t i = 0; i < j->n; i += TILE) {
        int64_t m = j->n - i < TILE ? j->n - i : TILE;
        encoders[j->dtype](m, from + i * j->in_step * j->size, j->in_step, true, tile);
        if (j->wide)
            for (int64_t k = 0; k < m; k++)
                ((pair *)items)[i + k] = (pair){tile[k], (uint64_t)(i + k)};
        else
            for (int64_t k = 0; k < m; k++)
                ((uint64_t *)items)[i + k] = (uint64_t)((uint32_t *)tile)[k] << 32 | (uint64_t)(i + k);
    }
}

static void store_items(const job *j, const void *items, char *to)
{
    uint32_t *places = (uint32_t *)to;
    if (!j->places)
        decoders[j->dtype](j->n, items, to, j->out_step);
    else if (j->wide)
        for (int64_t i = 0; i < j->n; i++)
            places[i * j->out_step] = (uint32_t)((const pair *)items)[i].place;
    else
        for (int64_t i = 0; i < j->n; i++)
            places[i * j->out_step] = (uint32_t)((const uint64_t *)items)[i];
}

static void *order_items(const job *j, void *items, void *scratch)
{
    int size = (int)nx_dtype_size(j->dtype), bits = size * 8;
    if (j->places && !j->wide) /* the place lies below the key: whole items may be compared */
        return j->kth < 0 ? radix_64(items, scratch, j->n, 32, 32 + bits)
                          : select_64(items, scratch, j->n, j->kth, 32, 32 + bits);
    if (j->places)
        return j->kth < 0 ? radix_pair(items, scratch, j->n, 0, 64)
                          : select_pair(items, scratch, j->n, j->kth, 0, 64);
    if (j->wide)
        return j->kth < 0 ? radix_64(items, scratch, j->n, 0, 64)
                          : select_64(items, scratch, j->n, j->kth, 0, 64);
    return j->kth < 0 ? radix_32(items, scratch, j->n, 0, bits)
                      : select_32(items, scratch, j->n, j->kth, 0, bits);
}

static void order_row(const job *j, int64_t row, char *scratch)
{
    int64_t at[2];
    char *half = scratch + (size_t)j->n * j->item;
    nx_walk_seek(&j->rows, row, at);
    load_items(j, j->from + at[0] * j->size, scratch);
    store_items(j, order_items(j, scratch, half), j->to + at[1] * j->to_size);
}

static void small_rows(void *ctx, int64_t begin, int64_t end)
{
    _Alignas(64) char scratch[STACK_BYTES];
    for (int64_t i = begin; i < end; i++)
        order_row(ctx, i, scratch);
}

/* Indices are slots of the workspace. */
static void large_rows(void *ctx, int64_t begin, int64_t end)
{
    const job *j = ctx;
    for (int64_t slot = begin; slot < end; slot++) {
        int64_t row = slot * j->rows_a_slot, stop = row + j->rows_a_slot;
        for (; row < stop && row < j->rows.size; row++)
            order_row(j, row, j->scratch + slot * 2 * j->n * (int64_t)j->item);
    }
}

static void job_init(job *j, const nx_call *c, int axis, int64_t kth, bool places)
{
    const nx_view *in = &c->in[0], *out = &c->out[0];
    int64_t strides[2][NX_MAX_NDIM];
    int shape[NX_MAX_NDIM], n = 0;
    for (int i = 0; i < in->ndim; i++) {
        if (i == axis)
            continue;
        shape[n] = in->shape[i];
        strides[0][n] = in->strides[i];
        strides[1][n++] = out->strides[i];
    }
    *j = (job){.n = in->shape[axis], .in_step = in->strides[axis], .out_step = out->strides[axis],
               .kth = kth, .places = places, .dtype = in->dtype, .from = in->data, .to = out->data,
               .size = (int64_t)nx_dtype_size(in->dtype), .to_size = (int64_t)nx_dtype_size(out->dtype),
               .scratch = c->workspace};
    j->wide = j->size == 8;
    j->item = places ? (j->wide ? sizeof(pair) : 8) : (j->wide ? 8 : 4);
    nx_walk_init(&j->rows, shape, n, (const int64_t *const[]){strides[0], strides[1]}, 2);
    j->rows_a_slot = (j->rows.size + SLOTS - 1) / SLOTS;
}

static bool is_small(const job *j)
{
    return 2 * (size_t)j->n * j->item <= STACK_BYTES;
}

static int64_t slots_of(const job *j)
{
    return (j->rows.size + j->rows_a_slot - 1) / j->rows_a_slot;
}

static size_t scratch_size(const nx_call *c, int axis, bool places)
{
    job j;
    job_init(&j, c, axis, -1, places);
    return is_small(&j) || !j.rows.size ? 0 : (size_t)slots_of(&j) * 2 * (size_t)j.n * j.item;
}

static void order(const nx_call *c, int axis, int64_t kth, bool places)
{
    job j;
    job_init(&j, c, axis, kth, places);
    if (is_small(&j))
        nx_parallel(j.rows.size, nx_grain(j.n * j.size, 8192), small_rows, &j);
    else
        nx_parallel(slots_of(&j), 1, large_rows, &j);
}

void NX_FN(sort)(const nx_call *c)
{
    order(c, ((const nx_sort_params *)c->params)->axis, -1, false);
}

void NX_FN(arg_sort)(const nx_call *c)
{
    order(c, ((const nx_sort_params *)c->params)->axis, -1, true);
}

void NX_FN(partition)(const nx_call *c)
{
    const nx_partition_params *p = c->params;
    order(c, p->axis, p->kth, false);
}

void NX_FN(arg_partition)(const nx_call *c)
{
    const nx_partition_params *p = c->params;
    order(c, p->axis, p->kth, true);
}

size_t NX_FN(sort_workspace)(const nx_call *c)
{
    return scratch_size(c, ((const nx_sort_params *)c->params)->axis, false);
}

size_t NX_FN(arg_sort_workspace)(const nx_call *c)
{
    return scratch_size(c, ((const nx_sort_params *)c->params)->axis, true);
}

size_t NX_FN(partition_workspace)(const nx_call *c)
{
    return scratch_size(c, ((const nx_partition_params *)c->params)->axis, false);
}

size_t NX_FN(arg_partition_workspace)(const nx_call *c)
{
    return scratch_size(c, ((const nx_partition_params *)c->params)->axis, true);
}
