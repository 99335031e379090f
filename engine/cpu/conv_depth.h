/*
 * conv_depth.h: the convolution in which each channel is a group of its own: conv_tmpl.c takes it in
 * after conv_body.h with X (the elements' type), X_LOAD (a vector of them as ACC) and D(name).
 *
 * Channels lie beside each other in vectors, weights as [taps, channels]. A few output places along
 * the last dimension share each load of weights; taps are added in order, those beside the input
 * are left out.
 */

/* Taps that a place meets: where in x, and in the weights. */
#ifndef NX_CONV_DEPTH
#define NX_CONV_DEPTH
typedef struct {
    int n;
    int64_t x[DEPTH_TAPS], w[DEPTH_TAPS];
} depth_taps;

static void depth_look(const conv_job *j, const int64_t *place, depth_taps *l)
{
    int64_t tap[3] = {0};
    l->n = 0;
    for (int64_t t = 0, next; t < j->taps; t = next) {
        int dead = tap_offset(j, place, tap, &l->x[l->n]);
        next = t + tap_next(j, dead < 3 ? dead : 2, tap);
        if (dead == 3)
            l->w[l->n++] = t * j->groups;
    }
}

/* Do all taps of DEPTH_PLACES places lie in the input along the last dimension? */
static bool depth_inside(const conv_job *j, const int64_t *place)
{
    int64_t last = place[2] + (DEPTH_PLACES - 1) * j->stride[2] + (j->kernel[2] - 1) * j->reach[2];
    return place[2] >= 0 && last < j->in[2];
}
#endif

/* LANES channels of `places` places, `apart` in x, into `to`, `to_apart` there. */
NX_INLINE void D(depth_tile)(const X *x, int64_t apart, const ACC *w, const depth_taps *l, ACC *to,
                             int64_t to_apart, const int places)
{
    enum { HALF = LANES / 2 };
    VEC low[DEPTH_PLACES], high[DEPTH_PLACES];
    for (int p = 0; p < places; p++)
        low[p] = high[p] = V(set)(0);
    for (int t = 0; t < l->n; t++) {
        const X *from = x + l->x[t];
        VEC w0 = V(load)(w + l->w[t]), w1 = V(load)(w + l->w[t] + HALF);
        for (int p = 0; p < places; p++) {
            low[p] = V(fma)(X_LOAD(from + p * apart), w0, low[p]);
            high[p] = V(fma)(X_LOAD(from + p * apart + HALF), w1, high[p]);
        }
    }
    for (int p = 0; p < places; p++) {
        V(store)(to + p * to_apart, low[p]);
        V(store)(to + p * to_apart + HALF, high[p]);
    }
}

/* All channels; the last tile begins earlier where they do not fill it. */
NX_INLINE void D(depth_places)(const conv_job *j, const depth_taps *l, ACC *to, const int places)
{
    int64_t apart = j->stride[2] * j->step[2], to_apart = j->place_step[2] * j->features;
    for (int64_t c = 0; c < j->groups; c += LANES) {
        int64_t at = c + LANES <= j->groups ? c : j->groups - LANES;
        D(depth_tile)((const X *)j->x->data + at, apart, (const ACC *)j->packed + at, l, to + at,
                      to_apart, places);
    }
}

/* Indices are runs of places along the last dimension. */
static void D(depth_piece)(void *ctx, int64_t begin, int64_t end)
{
    const conv_job *j = ctx;
    depth_taps l;
    for (int64_t line = begin; line < end; line++)
        for (int64_t i = 0, n; i < j->out[2]; i += n) {
            int64_t place[4], offset = place_of(j, line * j->out[2] + i, place) * j->features;
            ACC *to = (ACC *)j->sums + offset;
            depth_look(j, place, &l);
            n = i + DEPTH_PLACES <= j->out[2] && depth_inside(j, place) ? DEPTH_PLACES : 1;
            if (n == DEPTH_PLACES)
                D(depth_places)(j, &l, to, DEPTH_PLACES);
            else
                D(depth_places)(j, &l, to, 1);
            if ((char *)j->sums == (char *)j->y->data)
                continue;
            for (int64_t p = 0; p < n; p++)
                F(store)(j->y, offset + p * j->place_step[2] * j->features, j->features,
                         to + p * j->place_step[2] * j->features);
        }
}

/* Indices are taps. */
static void D(depth_pack)(void *ctx, int64_t begin, int64_t end)
{
    const conv_job *j = ctx;
    int64_t taps = j->all_kernel[0] * j->all_kernel[1] * j->all_kernel[2];
    for (int64_t t = begin; t < end; t++)
        F(load)(j->w, weight_tap(j, t), taps, j->groups, (ACC *)j->packed + t * j->groups);
}

static void D(depth)(conv_job *j)
{
    int64_t size = (int64_t)sizeof(ACC), line = j->out[2] * j->features * j->taps;
    nx_parallel(j->taps, nx_grain(j->groups * size, NX_PIECE_BYTES), D(depth_pack), j);
    nx_parallel(j->places / j->out[2], nx_grain(line, NX_PIECE_BYTES), D(depth_piece), j);
}
#undef X
#undef X_LOAD
#undef D
