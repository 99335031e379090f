#include "runtime/nn/cache.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/ggml_types.h"
#include "runtime/nn/engine.h"

void nn_cache_init(nn_cache *k, const nn_cache_shape *shapes, int n_layers, nn_cache_form form,
                   int limit)
{
    *k = (nn_cache){.n_layers = n_layers, .shapes = shapes, .limit = limit, .form = form};
    k->layers = nx_calloc((size_t)n_layers, sizeof *k->layers);
}

void nn_cache_clear(nn_cache *k)
{
    for (int i = 0; i < k->n_layers; i++) {
        mlx_array_free(k->layers[i].k);
        mlx_array_free(k->layers[i].v);
        for (int s = 0; s < NN_CACHE_STATES; s++)
            mlx_array_free(k->layers[i].state[s]);
    }
    free(k->layers);
    *k = (nn_cache){0};
}

/* ---- forms ------------------------------------------------------------------------------------ */

static const struct {
    const char *name;
    mlx_dtype dtype; /* of the arrays */
    int bits, block; /* of a packed form: of a code; bytes of 32 of them */
} forms[] = {
    [NN_CACHE_F16] = {"f16", MLX_FLOAT16, 0, 0},   [NN_CACHE_BF16] = {"bf16", MLX_BFLOAT16, 0, 0},
    [NN_CACHE_F32] = {"f32", MLX_FLOAT32, 0, 0},   [NN_CACHE_Q8] = {"q8", MLX_UINT8, 8, 34},
    [NN_CACHE_Q4] = {"q4", MLX_UINT8, 4, 20},
};
enum { FORMS = sizeof forms / sizeof *forms };

bool nn_cache_type(const char *name, nn_cache_form *out)
{
    for (int i = 0; i < FORMS; i++)
        if (strcmp(name ? name : "f16", forms[i].name) == 0) {
            const nexus_engine *ext = engine_extensions();
            *out = (nn_cache_form)i;
            return !forms[i].bits || (ext && ext->version >= 4) ||
                   nx_fail("[cache] a cache of type %s needs the engine's own extensions: use f16", name);
        }
    return nx_fail("[cache] there is no cache type '%s': use f16, bf16, f32, q8 or q4", name);
}

int nn_cache_bits(nn_cache_form form)
{
    return forms[form].bits;
}

int nn_cache_row_bytes(nn_cache_form form, int dim)
{
    if (!forms[form].bits)
        return dim * (int)mlx_dtype_size(forms[form].dtype);
    return (dim + 31) / 32 * forms[form].block;
}

/* The last dimension of the arrays of a layer. */
static int width_of(nn_cache_form form, int dim)
{
    return forms[form].bits ? nn_cache_row_bytes(form, dim) : dim;
}

mlx_array nn_cache_numbers(nn *c, nn_cache_form form, mlx_array rows, int dim)
{
    if (!forms[form].bits || c->failed)
        return rows;
    int heads = mlx_array_dim(rows, 1), n = mlx_array_dim(rows, 2), bytes = mlx_array_dim(rows, 3);
    int type = forms[form].bits == 8 ? NX_GGML_Q8_0 : NX_GGML_Q4_1; /* the same blocks */
    mlx_array flat = nn_reshape(c, rows, (int[]){heads * n, bytes}, 2);
    flat = NN_CALL(c, engine_extensions()->gguf_dequantize, flat, type, MLX_FLOAT32);
    flat = nn_reshape(c, flat, (int[]){1, heads, n, bytes / forms[form].block * 32}, 4);
    return nn_slice(c, flat, 3, 0, dim);
}

/* ---- forgetting ------------------------------------------------------------------------------- */

static bool can_keep(const nn_cache *k, int layer, int length)
{
    const nn_cache_shape *s = &k->shapes[layer];
    const nn_cache_layer *l = &k->layers[layer];
    if (s->state[0][0] && l->state_length != length)
        return false;
    return l->start == 0 || length - s->window + 1 >= l->start;
}

/* As if no token had been: what the arrays hold is written over, states begin anew. */
static void forget_all(nn_cache *k)
{
    for (int i = 0; i < k->n_layers; i++) {
        nn_cache_layer *l = &k->layers[i];
        l->start = l->state_length = 0;
        for (int s = 0; s < NN_CACHE_STATES; s++) {
            mlx_array_free(l->state[s]);
            l->state[s] = (mlx_array){0};
        }
    }
    k->length = 0;
}

bool nn_cache_holds(const nn_cache *k, int length)
{
    bool keep = length > 0 && length <= k->length;
    for (int i = 0; keep && i < k->n_layers; i++)
        keep = can_keep(k, i, length);
    return keep;
}

int nn_cache_truncate(nn_cache *k, int length)
{
    NX_BUG_IF(length > k->length || length < 0);
    if (nn_cache_holds(k, length))
        k->length = length;
    else
        forget_all(k);
    return k->length;
}

void nn_cache_expect(nn_cache *k, int length)
{
    k->expected = length < k->limit ? length : k->limit;
}

/* ---- room ------------------------------------------------------------------------------------- */

static int whole_blocks(int n)
{
    return (n + NN_CACHE_BLOCK - 1) / NN_CACHE_BLOCK * NN_CACHE_BLOCK;
}

/* Positions to make room for so that `need` fit: whole blocks, not over the limit's block. */
static int room_for(const nn_cache *k, const nn_cache_shape *s, int have, int need)
{
    int room = have + have / 4;
    if (s->window)
        return whole_blocks(need);
    if (room < need || k->expected >= need)
        room = k->expected > need ? k->expected : need;
    if (room > k->limit && k->limit >= need)
        room = k->limit;
    return whole_blocks(room);
}

static mlx_array rows_of(nn *c, mlx_array store, int from, int to)
{
    if (c->failed)
        return (mlx_array){0};
    int start[4] = {0, 0, from, 0}, step[4] = {1, 1, 1, 1};
    int stop[4] = {1, mlx_array_dim(store, 1), to, mlx_array_dim(store, 3)};
    return NN_CALL(c, mlx_slice, store, start, 4, stop, 4, step, 4);
}

/* Rows from..to-1 of `old` at the front of an array of `room` rows. */
static mlx_array moved(nn *c, const nn_cache *k, mlx_array old, int heads, int dim, int from, int to,
                       int room)
{
    int kept = to - from, width = width_of(k->form, dim);
    mlx_array more = NN_CALL(c, mlx_zeros, ((int[]){1, heads, room - kept, width}), 4, forms[k->form].dtype);
    if (!old.ctx || kept == 0 || c->failed)
        return more;
    mlx_array part = rows_of(c, old, from, to);
    mlx_vector_array both = mlx_vector_array_new_data((mlx_array[]){part, more}, 2);
    mlx_array r = NN_CALL(c, mlx_concatenate_axis, both, 2);
    mlx_vector_array_free(both);
    return r;
}

/* Room for positions up to `end`, in a layer with a window without those that nobody sees. */
static void make_room(nn *c, nn_cache *k, int layer, int end)
{
    const nn_cache_shape *s = &k->shapes[layer];
    nn_cache_layer *l = &k->layers[layer];
    if (end - l->start <= l->room)
        return;
    int start = l->start, seen = k->length - s->window + 1;
    if (s->window && seen > start)
        start = seen / NN_CACHE_BLOCK * NN_CACHE_BLOCK;
    int room = room_for(k, s, l->room, end - start), from = start - l->start, to = k->length - l->start;
    if (s->window && end - start <= l->room)
        room = l->room;
    mlx_array keys = moved(c, k, l->k, s->heads, s->k_dim, from, to, room), values = {0};
    if (s->v_dim)
        values = moved(c, k, l->v, s->heads, s->v_dim, from, to, room);
    if (c->failed)
        return;
    mlx_array_set(&l->k, keys);
    if (s->v_dim)
        mlx_array_set(&l->v, values);
    l->room = room;
    l->start = start;
}

/* Rows of a layer that hold the first `length` tokens, into k's own arrays. */
static void copy_layer(nn *c, nn_cache *k, const nn_cache *from, int layer, int length)
{
    const nn_cache_shape *s = &k->shapes[layer];
    const nn_cache_layer *f = &from->layers[layer];
    nn_cache_layer *l = &k->layers[layer];
    for (int i = 0; i < NN_CACHE_STATES; i++)
        if (f->state[i].ctx && mlx_array_set(&l->state[i], f->state[i]))
            nn_fail(c);
    l->state_length = f->state_length;
    l->start = f->start;
    if (!f->k.ctx)
        return;
    int kept = length - f->start, room = room_for(k, s, 0, kept);
    mlx_array keys = moved(c, k, f->k, s->heads, s->k_dim, 0, kept, room), values = {0};
    if (s->v_dim)
        values = moved(c, k, f->v, s->heads, s->v_dim, 0, kept, room);
    if (c->failed)
        return;
    if (mlx_array_set(&l->k, keys) || (s->v_dim && mlx_array_set(&l->v, values)))
        nn_fail(c);
    l->room = room;
}

bool nn_cache_copy(nn *c, nn_cache *k, const nn_cache *from, int length)
{
    NX_BUG_IF(!nn_cache_holds(from, length) || k->form != from->form || k->n_layers != from->n_layers);
    forget_all(k);
    for (int i = 0; i < k->n_layers; i++)
        copy_layer(c, k, from, i, length);
    bool ok = !c->failed;
    nn_reset(c);
    mlx_vector_array all = mlx_vector_array_new();
    nn_cache_arrays(k, all);
    ok = ok && mlx_eval(all) == 0;
    mlx_vector_array_free(all);
    if (ok)
        k->length = length;
    else
        forget_all(k);
    return ok;
}

/* ---- use -------------------------------------------------------------------------------------- */

/* *store[:, :, at : at + n] = part. The only owner of the array is the cache, so this is in place. */
static void write(nn *c, const nn_cache *k, mlx_array *store, mlx_array part, int at, int n)
{
    int bits = forms[k->form].bits;
    if (c->failed)
        return;
    mlx_array cast = bits ? NN_CALL(c, engine_extensions()->cache_pack, part, bits)
                          : nn_astype(c, part, forms[k->form].dtype);
    if (c->failed)
        return;
    int start[4] = {0, 0, at, 0}, step[4] = {1, 1, 1, 1};
    int stop[4] = {1, mlx_array_dim(*store, 1), at + n, mlx_array_dim(*store, 3)};
    if (mlx_slice_update(store, *store, cast, start, 4, stop, 4, step, 4, c->s))
        nn_fail(c);
}

void nn_cache_update(nn *c, nn_cache *k, int layer, mlx_array keys, mlx_array values,
                     mlx_array *all_keys, mlx_array *all_values, int *start)
{
    *all_keys = *all_values = (mlx_array){0};
    *start = 0;
    if (c->failed)
        return;
    nn_cache_layer *l = &k->layers[layer];
    int n = mlx_array_dim(keys, 2), end = k->length + n;
    make_room(c, k, layer, end);
    write(c, k, &l->k, keys, k->length - l->start, n);
    *all_keys = rows_of(c, l->k, 0, end - l->start);
    if (k->shapes[layer].v_dim) {
        write(c, k, &l->v, values, k->length - l->start, n);
        *all_values = rows_of(c, l->v, 0, end - l->start);
    }
    *start = l->start;
}

void nn_cache_open(nn *c, nn_cache *k, int layer, mlx_array *keys, mlx_array *values, int *place)
{
    nn_cache_layer *l = &k->layers[layer];
    if (!c->failed)
        make_room(c, k, layer, k->length + 1);
    *keys = l->k;
    *values = l->v;
    *place = k->length - l->start;
}

void nn_cache_put(nn *c, nn_cache *k, int layer, mlx_array keys, mlx_array values)
{
    nn_cache_layer *l = &k->layers[layer];
    if (mlx_array_set(&l->k, keys) || mlx_array_set(&l->v, values))
        nn_fail(c);
}

mlx_array nn_cache_state(nn *c, nn_cache *k, int layer, int i)
{
    nn_cache_layer *l = &k->layers[layer];
    const int *shape = k->shapes[layer].state[i];
    if (c->failed)
        return (mlx_array){0};
    if (!l->state[i].ctx)
        return NN_CALL(c, mlx_zeros, shape, 3, MLX_FLOAT32);
    mlx_array copy = mlx_array_new();
    return nn_own(c, mlx_array_set(&copy, l->state[i]), copy);
}

void nn_cache_set_state(nn *c, nn_cache *k, int layer, int i, int n, mlx_array state)
{
    nn_cache_layer *l = &k->layers[layer];
    state = NN_CALL(c, mlx_contiguous, state, false); /* a part of a prompt's rows would keep them all */
    if (c->failed || mlx_array_set(&l->state[i], state)) {
        nn_fail(c);
        return;
    }
    l->state_length = k->length + n;
}

void nn_cache_arrays(const nn_cache *k, mlx_vector_array out)
{
    for (int i = 0; i < k->n_layers; i++) {
        const nn_cache_layer *l = &k->layers[i];
        if (l->k.ctx)
            mlx_vector_array_append_value(out, l->k);
        if (l->v.ctx)
            mlx_vector_array_append_value(out, l->v);
        for (int s = 0; s < NN_CACHE_STATES; s++)
            if (l->state[s].ctx)
                mlx_vector_array_append_value(out, l->state[s]);
    }
}

/* ---- facts ------------------------------------------------------------------------------------ */

int nn_cache_room(int window, int length)
{
    /* A window is joined by the tokens of a step, and by the blocks that are not full. */
    int most = window ? window + 1024 : length;
    return whole_blocks(length < most ? length : most);
}

uint64_t nn_cache_state_bytes(const nn_cache_shape *s)
{
    uint64_t bytes = 0;
    for (int i = 0; i < NN_CACHE_STATES; i++)
        bytes += 4 * (uint64_t)s->state[i][0] * (uint64_t)s->state[i][1] * (uint64_t)s->state[i][2];
    return bytes;
}
