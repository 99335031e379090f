/*
 * conv_body.h: the convolution of one accumulator type: conv_tmpl.c takes it in with ACC (the type),
 * VEC and V(operation) (simd.h's vectors of it), LANES (of two of them) and F(name) (names of their
 * own).
 *
 * The weights are packed by columns of LANES output channels. For each block of output places, what
 * the kernel meets there is gathered [places, some of k] and multiplied; sums go over k (the taps,
 * then the channels) in order, whatever the block.
 */

/* Row p of `patch`: elements from..to-1 of what the kernel meets from `place` on. */
static void F(gather)(const conv_job *j, int group, const int64_t *place, int64_t from, int64_t to,
                      ACC *patch)
{
    int64_t first = from / j->channels, c = from % j->channels, offset;
    int64_t tap[3] = {first / j->kernel[2] / j->kernel[1], first / j->kernel[2] % j->kernel[1],
                      first % j->kernel[2]};
    for (int64_t k = from; k < to; c = 0) {
        int dead = tap_offset(j, place, tap, &offset);
        int64_t line = dead < 3 ? 1 : tap_line(j, place, tap);
        tap[2] += line - 1;
        int64_t n = (tap_next(j, dead < 3 ? dead : 2, tap) + line - 1) * j->channels - c;
        n = n < to - k ? n : to - k;
        if (dead < 3)
            memset(patch, 0, (size_t)n * sizeof *patch);
        else
            F(load)(j->x, offset + (group * j->channels + c) * j->channel_step, j->channel_step, n,
                    patch);
        patch += n;
        k += n;
    }
}

/* ROWS x LANES of the result in registers: n more of k for what `tile` holds. */
static void F(multiply)(const ACC *patch, int64_t n, const ACC *weights, ACC *tile)
{
    enum { HALF = LANES / 2 };
    VEC low[ROWS], high[ROWS];
    for (int r = 0; r < ROWS; r++) {
        low[r] = V(load)(tile + r * LANES);
        high[r] = V(load)(tile + r * LANES + HALF);
    }
    for (int64_t k = 0; k < n; k++) {
        VEC w0 = V(load)(weights + k * LANES), w1 = V(load)(weights + k * LANES + HALF);
        for (int r = 0; r < ROWS; r++) {
            VEC x = V(set)(patch[r * CHUNK + k]);
            low[r] = V(fma)(x, w0, low[r]);
            high[r] = V(fma)(x, w1, high[r]);
        }
    }
    for (int r = 0; r < ROWS; r++) {
        V(store)(tile + r * LANES, low[r]);
        V(store)(tile + r * LANES + HALF, high[r]);
    }
}

/* Some output places of one group, all channels: place [rows][4] as from place_of, `sum` their sums. */
static void F(block)(const conv_job *j, int group, int rows, int64_t (*place)[4], ACC *const *sum)
{
    ACC patch[ROWS * CHUNK], tile[ROWS * LANES] = {0};
    int64_t per_group = j->features / j->groups, channel = group * per_group;
    const ACC *packed = (const ACC *)j->packed + group * j->group_packed;
    if (rows < ROWS)
        memset(patch, 0, sizeof patch);
    for (int r = 0; r < rows && j->k == 0; r++)
        memset(sum[r] + channel, 0, (size_t)per_group * sizeof(ACC));
    for (int64_t from = 0; from < j->k; from += CHUNK) {
        int64_t n = j->k - from < CHUNK ? j->k - from : CHUNK;
        for (int r = 0; r < rows; r++)
            F(gather)(j, group, place[r], from, from + n, patch + r * CHUNK);
        for (int64_t o = 0; o < per_group; o += LANES) {
            size_t width = (size_t)(per_group - o < LANES ? per_group - o : LANES) * sizeof(ACC);
            for (int r = 0; r < rows; r++) {
                if (from)
                    memcpy(tile + r * LANES, sum[r] + channel + o, width);
                else
                    memset(tile + r * LANES, 0, width);
            }
            F(multiply)(patch, n, packed + o * j->k + from * LANES, tile);
            for (int r = 0; r < rows; r++)
                memcpy(sum[r] + channel + o, tile + r * LANES, width);
        }
    }
}

static void F(piece)(void *ctx, int64_t begin, int64_t end)
{
    const conv_job *j = ctx;
    bool half = j->y->dtype == NX_FLOAT16 || j->y->dtype == NX_BFLOAT16;
    for (int64_t b = begin; b < end; b++) {
        int64_t at = b * ROWS, place[ROWS][4], offset[ROWS];
        int rows = j->places - at < ROWS ? (int)(j->places - at) : ROWS;
        ACC *sum[ROWS];
        for (int r = 0; r < rows; r++) {
            offset[r] = place_of(j, at + r, place[r]) * j->features;
            sum[r] = (ACC *)j->sums + offset[r];
        }
        for (int g = 0; g < j->groups; g++)
            F(block)(j, g, rows, place, sum);
        for (int r = 0; r < rows && half; r++)
            F(store)(j->y, offset[r], j->features, sum[r]);
    }
}

/* Columns begin..end-1 of LANES output channels each, over all groups. */
static void F(pack)(void *ctx, int64_t begin, int64_t end)
{
    enum { SOME = 64 };
    const conv_job *j = ctx;
    int64_t per_group = j->features / j->groups, columns = (per_group + LANES - 1) / LANES;
    for (int64_t b = begin; b < end; b++) {
        int64_t group = b / columns, first = b % columns * LANES;
        ACC *to = (ACC *)j->packed + group * j->group_packed + first * j->k;
        memset(to, 0, (size_t)(LANES * j->k) * sizeof *to);
        for (int64_t lane = 0; lane < LANES && first + lane < per_group; lane++) {
            int64_t row = group * per_group + first + lane;
            int64_t whole = j->all_kernel[0] * j->all_kernel[1] * j->all_kernel[2] * j->channels;
            for (int64_t tap = 0; tap < j->taps; tap++) {
                int64_t from = weight_tap(j, tap);
                for (int64_t c = 0; c < j->channels; c += SOME) {
                    ACC some[SOME];
                    int64_t n = j->channels - c < SOME ? j->channels - c : SOME;
                    F(load)(j->w, row * whole + from * j->channels + c, 1, n, some);
                    for (int64_t i = 0; i < n; i++)
                        to[(tap * j->channels + c + i) * LANES + lane] = some[i];
                }
            }
        }
    }
}

static void F(run)(conv_job *j)
{
    int64_t per_group = j->features / j->groups, columns = (per_group + LANES - 1) / LANES;
    int64_t work = ROWS * j->k * j->features / j->groups; /* a byte for each multiplication, about */
    nx_parallel(j->k ? columns * j->groups : 0, nx_grain(LANES * j->k * (int64_t)sizeof(ACC), NX_PIECE_BYTES),
                F(pack), j);
    nx_parallel((j->places + ROWS - 1) / ROWS, nx_grain(work, NX_PIECE_BYTES), F(piece), j);
}
