#include "runtime/convert/allot.h"

#include <stdlib.h>

#include "base/error.h"
#include "base/ggml_types.h"
#include "runtime/convert/emit.h"

enum { SAMPLE_ROWS = 32, SAMPLE_NUMBERS = 1 << 17, MOST_KINDS = 8 };

/* The ways a matrix may be stored, by bits. */
typedef struct {
    storage as[MOST_KINDS];
    double bits[MOST_KINDS];
    int n;
} ladder;

static ladder ladder_of(const plan *p, const item *t)
{
    static const int types[] = {NX_GGML_Q2_K, NX_GGML_Q3_K, NX_GGML_Q4_K, NX_GGML_Q5_K, NX_GGML_Q6_K,
                                NX_GGML_Q8_0};
    static const int small_types[] = {NX_GGML_Q4_0, NX_GGML_Q5_0, NX_GGML_Q5_1, NX_GGML_Q8_0};
    static const int bits[] = {2, 3, 4, 5, 6, 8};
    ladder l = {.n = 0};
    int64_t cols = item_cols(t);
    bool gguf = p->target == TARGET_GGUF, whole = cols % 256 == 0;
    if (cols % 32)
        return l;
    size_t n = gguf ? (whole ? 6 : 4) : 6;
    for (size_t i = 0; i < n; i++) {
        int group = cols % 64 == 0 ? 64 : 32, type = whole ? types[i] : small_types[i % 4];
        storage s = {.form = OUT_BLOCKS, .type = type};
        if (!gguf)
            s = (storage){OUT_AFFINE, t->type == NX_GGML_BF16 ? NX_GGML_BF16 : NX_GGML_F16, bits[i], group,
                          "affine"};
        l.as[l.n] = s;
        l.bits[l.n++] = gguf ? nx_ggml_type_bits(nx_ggml_type_find((uint32_t)type)) : bits[i] + 32.0 / group;
    }
    return l;
}

/* The error that each step of the ladder makes in what the matrix gives, summed over all of it, from
 * some of its rows; weighed by the importance of the columns. Relative to the size of the result, which
 * norms and other layers make alike everywhere. */
static bool measure(const plan *p, item *t, const ladder *l, double errors[MOST_KINDS])
{
    int64_t cols = item_cols(t), n = SAMPLE_NUMBERS / cols, rows = item_rows(t), step = item_step(t);
    n = n < 1 ? 1 : n > SAMPLE_ROWS ? SAMPLE_ROWS : n;
    n = (n + step - 1) / step * step;
    n = n > rows ? rows : n;
    const float *w = emit_importance(p, t);
    float *x = nx_malloc((size_t)(2 * n * cols) * sizeof *x), *y = x + n * cols;
    int64_t begin = t->turned ? 0 : (rows - n) / 2 / step * step;
    bool ok = item_read(t, p->target == TARGET_GGUF, begin, n, x);
    double size = 0;
    for (int64_t i = 0; ok && i < n * cols; i++)
        size += (double)x[i] * (double)x[i] * (w ? (double)w[i % cols] : 1);
    for (int k = 0; ok && k < l->n; k++) {
        double e = 0;
        ok = emit_trial(&l->as[k], x, n, cols, w, y);
        for (int64_t i = 0; ok && i < n * cols; i++) {
            double d = (double)x[i] - (double)y[i];
            e += d * d * (w ? (double)w[i % cols] : 1);
        }
        errors[k] = size > 0 ? e / size * (double)rows * (double)cols : 0;
    }
    free(x);
    return ok;
}

typedef struct {
    ladder l;
    double errors[MOST_KINDS], numbers;
    int chosen;
} entry;

/* The step up that takes away most error a bit, as often as there is room. */
static void climb(entry *all, size_t n, double room)
{
    for (;;) {
        entry *best = NULL;
        double most = 0, cost = 0;
        int to = 0;
        for (size_t i = 0; i < n; i++) {
            entry *e = &all[i];
            for (int k = e->chosen + 1; k < e->l.n; k++) {
                double bits = (e->l.bits[k] - e->l.bits[e->chosen]) * e->numbers;
                double gain = (e->errors[e->chosen] - e->errors[k]) / bits;
                if (bits <= room && gain > most) {
                    most = gain;
                    best = e;
                    to = k;
                    cost = bits;
                }
            }
        }
        if (!best)
            return;
        best->chosen = to;
        room -= cost;
    }
}

storage *allot_bits(plan *p, const plan_request *ask)
{
    size_t n = p->items.n;
    entry *all = nx_calloc(n + 1, sizeof *all);
    storage *out = nx_calloc(n + 1, sizeof *out);
    double numbers = 0, bits = 0;
    bool ok = true;
    for (size_t i = 0; i < n && ok; i++) {
        item *t = &p->items.at[i];
        double here = (double)(t->rows * t->cols);
        numbers += here;
        all[i].l = plan_quantizes(t) ? ladder_of(p, t) : (ladder){.n = 0};
        all[i].numbers = here;
        bits += here * (all[i].l.n ? all[i].l.bits[0] : 16);
        ok = !all[i].l.n || measure(p, t, &all[i].l, all[i].errors);
    }
    double room = ask->target_bpw * numbers - bits;
    if (ok && room < 0)
        ok = nx_fail("%.2f bits a weight are too few: with the least there are %.2f", ask->target_bpw,
                     bits / numbers);
    if (ok)
        climb(all, n, room);
    for (size_t i = 0; i < n; i++)
        out[i] = all[i].l.n ? all[i].l.as[all[i].chosen] : (storage){.form = OUT_PLAIN, .type = NX_GGML_F16};
    free(all);
    if (ok)
        return out;
    free(out);
    return NULL;
}
