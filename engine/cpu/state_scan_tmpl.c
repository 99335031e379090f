/*
 * state_scan_tmpl.c: StateScan: S = S * decay + (S a) b' + v k';  y = S q, a token after the other.
 *
 * A row of a state ([N], of one head and one place of v) needs no other, so rows are what threads
 * and blocks share, and each goes through the text in order: a token's bits are those of any cut of
 * the text and any number of threads. Four rows go at a time, since the sum over a row is one chain
 * of additions.
 */
#include "engine/cpu/kernels.h"
#include "engine/cpu/kmath_float.h"
#include "engine/cpu/pool.h"
#include "engine/cpu/simd.h"

enum { STATE, DECAY, K, V, Q, A, B, N_IN }; /* inputs; A and B may lack */
/* Rows at a time; and a block of them, which stays in the nearest cache. */
enum { ROWS = 4, BLOCK = 64, BLOCK_BYTES = 16 * 1024 };

typedef struct {
    const float *in[N_IN];
    int64_t step[N_IN];  /* numbers a token */
    int64_t share[N_IN]; /* heads that one vector serves */
    float *last, *y;
    int64_t t, rows, p, n;
    bool by_column, corrects; /* a decay for each column; there are a and b */
} job;

/* One row at one token: its vectors and numbers. */
typedef struct {
    float *s;
    const float *in[N_IN];
} row;

NX_INLINE float lanes_sum(vf v)
{
    float lane[VF_N];
    vf_store(lane, v);
    for (int h = VF_N / 2; h; h /= 2)
        for (int i = 0; i < h; i++)
            lane[i] += lane[i + h];
    return lane[0];
}

/* S a of each row. */
NX_INLINE void products(const row *r, int64_t step, int64_t n, int count, float *sum)
{
    vf acc[ROWS];
    int64_t i = 0;
    for (int k = 0; k < count; k++)
        acc[k] = vf_set(0.0f);
    for (; i + VF_N <= n; i += VF_N)
        for (int k = 0; k < count; k++)
            acc[k] = vf_fma(vf_load(r[k].s + i), vf_load(r[k].in[A] + step + i), acc[k]);
    for (int k = 0; k < count; k++) {
        sum[k] = lanes_sum(acc[k]);
        for (int64_t j = i; j < n; j++)
            sum[k] = K_FMA(r[k].s[j], r[k].in[A][step + j], sum[k]);
    }
}

/* One token of `count` rows; y of row k goes to y[k]. All but j and t is constant where this is
 * inlined. */
NX_INLINE void token(const job *j, const row *r, int64_t t, int count, bool by_column,
                     bool corrects, float *y)
{
    int64_t n = j->n, i = 0, at_w = t * j->step[DECAY], at_k = t * j->step[K],
            at_q = t * j->step[Q];
    int64_t at_v = t * j->step[V], at_b = t * j->step[B];
    float known[ROWS];
    vf acc[ROWS];
    if (corrects)
        products(r, t * j->step[A], n, count, known);
    for (int k = 0; k < count; k++)
        acc[k] = vf_set(0.0f);
    for (; i + VF_N <= n; i += VF_N)
        for (int k = 0; k < count; k++) {
            const float *w = r[k].in[DECAY] + at_w;
            vf s = vf_mul(vf_load(r[k].s + i), by_column ? vf_load(w + i) : vf_set(*w));
            if (corrects)
                s = vf_fma(vf_set(known[k]), vf_load(r[k].in[B] + at_b + i), s);
            s = vf_fma(vf_set(r[k].in[V][at_v]), vf_load(r[k].in[K] + at_k + i), s);
            vf_store(r[k].s + i, s);
            acc[k] = vf_fma(s, vf_load(r[k].in[Q] + at_q + i), acc[k]);
        }
    for (int k = 0; k < count; k++) {
        float sum = lanes_sum(acc[k]);
        const float *w = r[k].in[DECAY] + at_w;
        for (int64_t m = i; m < n; m++) {
            float s = r[k].s[m] * w[by_column ? m : 0];
            if (corrects)
                s = K_FMA(known[k], r[k].in[B][at_b + m], s);
            r[k].s[m] = s = K_FMA(r[k].in[V][at_v], r[k].in[K][at_k + m], s);
            sum = K_FMA(s, r[k].in[Q][at_q + m], sum);
        }
        y[k] = sum;
    }
}

NX_INLINE void text(const job *j, const row *r, int64_t count, float *y, bool by_column,
                    bool corrects)
{
    for (int64_t t = 0; t < j->t; t++, y += j->rows) {
        int64_t k = 0;
        for (; k + ROWS <= count; k += ROWS)
            token(j, r + k, t, ROWS, by_column, corrects, y + k);
        for (; k < count; k++)
            token(j, r + k, t, 1, by_column, corrects, y + k);
    }
}

static void row_init(const job *j, int64_t i, row *r)
{
    int64_t head = i / j->p;
    r->s = j->last + i * j->n;
    for (int k = 0; k < N_IN; k++)
        r->in[k] = j->in[k] ? j->in[k] + head / j->share[k] * j->n : NULL;
    r->in[V] = j->in[V] + i;
    if (!j->by_column)
        r->in[DECAY] = j->in[DECAY] + head;
}

static void block(const job *j, int64_t begin, int64_t count)
{
    row r[BLOCK];
    for (int64_t i = 0; i < count; i++)
        row_init(j, begin + i, &r[i]);
    memcpy(j->last + begin * j->n, j->in[STATE] + begin * j->n,
           (size_t)(count * j->n) * sizeof(float));
    float *y = j->y + begin;
    if (j->corrects && j->by_column)
        text(j, r, count, y, true, true);
    else if (j->corrects)
        text(j, r, count, y, false, true);
    else if (j->by_column)
        text(j, r, count, y, true, false);
    else
        text(j, r, count, y, false, false);
}

static void piece(void *ctx, int64_t begin, int64_t end)
{
    const job *j = ctx;
    int64_t most = nx_grain(j->n * (int64_t)sizeof(float), BLOCK_BYTES) / ROWS * ROWS;
    most = most < ROWS ? ROWS : most > BLOCK ? BLOCK : most;
    for (int64_t i = begin; i < end; i += most)
        block(j, i, end - i < most ? end - i : most);
}

void NX_FN(state_scan)(const nx_call *c)
{
    const int *state = c->in[STATE].shape;
    job j = {.last = c->out[0].data,
             .y = c->out[1].data,
             .t = c->in[V].shape[0],
             .rows = (int64_t)state[0] * state[1],
             .p = state[1],
             .n = state[2],
             .by_column = c->in[DECAY].ndim == 3,
             .corrects = c->n_in > A};
    for (int i = 0; i < N_IN; i++)
        j.share[i] = 1;
    for (int i = 0; i < c->n_in; i++) {
        const int *shape = c->in[i].shape;
        j.in[i] = c->in[i].data;
        if (i == STATE)
            continue;
        j.step[i] = (int64_t)shape[1] * (c->in[i].ndim == 3 ? shape[2] : 1);
        j.share[i] = shape[1] ? state[0] / shape[1] : 1;
    }
    int64_t bytes = (j.t + 1) * j.n * (int64_t)sizeof(float);
    int64_t grain = (nx_grain(bytes, NX_PIECE_BYTES) + ROWS - 1) / ROWS * ROWS;
    nx_parallel(j.rows, grain, piece, &j);
}
