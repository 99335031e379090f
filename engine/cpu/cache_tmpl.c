/* cache_tmpl.c: CachePack: rows of numbers to blocks of 8- or 4-bit codes (cache_blocks.h). */
#include <math.h>

#include "engine/cpu/cache_blocks.h"
#include "engine/cpu/kernels.h"
#include "engine/cpu/pool.h"
#include "engine/cpu/types.h"

typedef struct {
    const nx_view *x;
    uint8_t *out;
    int64_t columns, row_bytes;
    int bits;
} pack_job;

static void put_half(uint8_t *to, float x)
{
    uint16_t h = nx_half_from_float(x);
    memcpy(to, &h, 2);
}

/* The inverse of a step; codes of a block that is all alike, or not finite, are zero. */
static float inverse(float step)
{
    return step > 0 && step < INFINITY ? 1 / step : 0;
}

/* A code in its range; not a number becomes 0. */
static int code_of(float x, int least, int most)
{
    x = x > (float)least ? x : (float)least; /* of a number that is none: least */
    return (int)lrintf(x < (float)most ? x : (float)most);
}

/* The scale is rounded before codes are chosen, so that its rounding costs nothing. */
static void pack_8(const float *x, uint8_t *to)
{
    float most = 0;
    for (int i = 0; i < NX_CACHE_GROUP; i++)
        most = fabsf(x[i]) > most ? fabsf(x[i]) : most;
    put_half(to, most > 65504 * 127.0f ? 65504 : most / 127);
    float scale = inverse(cache_number(to));
    for (int i = 0; i < NX_CACHE_GROUP; i++)
        to[2 + i] = (uint8_t)(int8_t)code_of(x[i] * scale, -127, 127);
}

static void pack_4(const float *x, uint8_t *to)
{
    float least = x[0], most = x[0];
    for (int i = 1; i < NX_CACHE_GROUP; i++) {
        least = x[i] < least ? x[i] : least;
        most = x[i] > most ? x[i] : most;
    }
    put_half(to, (most - least) / 15);
    put_half(to + 2, least);
    float scale = inverse(cache_number(to)), min = cache_number(to + 2);
    for (int i = 0; i < NX_CACHE_GROUP / 2; i++) {
        int low = code_of((x[i] - min) * scale, 0, 15), high = code_of((x[i + 16] - min) * scale, 0, 15);
        to[4 + i] = (uint8_t)(low | high << 4);
    }
}

static void load(const nx_view *x, int64_t at, int64_t n, float *to)
{
    memset(to, 0, NX_CACHE_GROUP * sizeof *to);
    if (x->dtype == NX_FLOAT32)
        memcpy(to, (const float *)x->data + at, (size_t)n * sizeof *to);
    else if (x->dtype == NX_FLOAT16)
        nx_floats_of_f16((const uint16_t *)x->data + at, to, n);
    else
        nx_floats_of_bf16((const uint16_t *)x->data + at, to, n);
}

static void pack_piece(void *ctx, int64_t begin, int64_t end)
{
    const pack_job *j = ctx;
    float x[NX_CACHE_GROUP];
    for (int64_t row = begin; row < end; row++) {
        uint8_t *to = j->out + row * j->row_bytes;
        for (int64_t d = 0; d < j->columns; d += NX_CACHE_GROUP, to += nx_cache_block_bytes(j->bits)) {
            int64_t left = j->columns - d;
            load(j->x, row * j->columns + d, left < NX_CACHE_GROUP ? left : NX_CACHE_GROUP, x);
            if (j->bits == 8)
                pack_8(x, to);
            else
                pack_4(x, to);
        }
    }
}

void NX_FN(cache_pack)(const nx_call *c)
{
    const nx_cache_pack_params *p = c->params;
    const nx_view *x = &c->in[0];
    int64_t columns = x->shape[x->ndim - 1];
    pack_job j = {.x = x, .out = c->out[0].data, .columns = columns, .bits = p->bits,
                  .row_bytes = nx_cache_row_bytes(p->bits, columns)};
    nx_parallel(nx_shape_size(x->shape, x->ndim - 1), nx_grain(columns * 16, NX_PIECE_BYTES), pack_piece, &j);
}
