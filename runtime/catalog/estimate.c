#include "runtime/catalog/estimate.h"

#include <math.h>

#include "runtime/generate/scheduler.h"

/* Measured over the models of docs/models.md: what program, libraries and stacks take whatever the
 * model; and a vocabulary's strings, hashes and logits, per token. */
enum { PROGRAM_BYTES = 9000000, BYTES_A_TOKEN = 72 };

memory_shape memory_shape_of(const model *m)
{
    memory_shape s = {.n_layers = m->n_layers, .n_kv_heads = m->n_kv_heads, .head_dim = m->head_dim,
                      .hidden_size = m->hidden_size, .intermediate_size = m->intermediate_size,
                      .n_heads = m->n_heads, .vocab_size = m->vocab_size};
    for (int i = 0; i < m->n_layers; i++) {
        const nn_cache_shape *k = &m->caches[i];
        uint64_t row = (uint64_t)k->heads * (uint64_t)(k->k_dim + k->v_dim);
        uint64_t blocks = (uint64_t)k->heads * (uint64_t)((k->k_dim + 31) / 32 + (k->v_dim + 31) / 32);
        *(k->window ? &s.window_row : &s.cache_row) += row;
        *(k->window ? &s.window_blocks : &s.cache_blocks) += blocks;
        s.window = k->window > s.window ? k->window : s.window;
        s.state_bytes += nn_cache_state_bytes(k);
    }
    return s;
}

/* Of a family that this version does not know: keys and values of all layers. */
static uint64_t cache_bytes(const memory_shape *s, int ctx, nn_cache_form form)
{
    bool packed = nn_cache_bits(form) != 0;
    uint64_t row = s->cache_row, blocks = s->cache_blocks;
    uint64_t each = (uint64_t)nn_cache_row_bytes(form, packed ? 32 : 1); /* bytes of a block, of a number */
    if (!s->cache_row && !s->window_row && !s->state_bytes) {
        row = 2 * (uint64_t)s->n_layers * (uint64_t)s->n_kv_heads * (uint64_t)s->head_dim;
        blocks = (row + 31) / 32;
    }
    return (packed ? blocks : row) * each * (uint64_t)nn_cache_room(0, ctx) +
           (packed ? s->window_blocks : s->window_row) * each * (uint64_t)nn_cache_room(s->window, ctx) +
           s->state_bytes;
}

void memory_shape_complete(memory_shape *s)
{
    if (!s->n_kv_heads)
        s->n_kv_heads = s->n_heads;
    if (!s->head_dim && s->n_heads > 0)
        s->head_dim = s->hidden_size / s->n_heads;
}

/* Turned matrices lie in huge pages, several to a chunk, in the order of their first use; what they
 * leave of a page belongs to nobody else. As engine/core/buffer.c does it. */
enum { HUGE_PAGE = 2 << 20, HUGE_CHUNK = 8 * HUGE_PAGE };

typedef struct {
    double in_chunk; /* bytes of the open chunk that are used */
    double bytes;    /* in pages, of all before it */
} chunks;

static double whole_pages(double bytes)
{
    return ceil(bytes / HUGE_PAGE) * HUGE_PAGE;
}

static void add_matrix(chunks *c, double bytes)
{
    if (bytes > HUGE_CHUNK / 2) {
        c->bytes += whole_pages(bytes);
        return;
    }
    if (c->in_chunk + bytes > HUGE_CHUNK) {
        c->bytes += whole_pages(c->in_chunk);
        c->in_chunk = 0;
    }
    c->in_chunk += bytes;
}

/* How far bytes a weight are from those of a type that is turned. */
static double strangeness(double bytes)
{
    static const double known[] = {18 / 32.0, 20 / 32.0, 22 / 32.0, 24 / 32.0, 34 / 32.0};
    double least = INFINITY;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        least = fmin(least, fabs(bytes / known[i] - 1));
    return least;
}

/* Bytes that the pages of turned matrices take beyond the matrices themselves. Whether the output
 * has a matrix of its own is told by which answer makes a weight of a known size. */
static uint64_t lost_in_pages(const memory_shape *s)
{
    double hidden = s->hidden_size, q = (double)s->n_heads * s->head_dim * hidden;
    double kv = (double)s->n_kv_heads * s->head_dim * hidden, mlp = hidden * s->intermediate_size;
    double embed = hidden * s->vocab_size, layer = 2 * q + 2 * kv + 3 * mlp;
    double all = embed + layer * s->n_layers;
    chunks c = {0};
    if (!s->turned_bytes || all <= 0 || s->n_layers > 10000)
        return 0;
    double scale = (double)s->turned_bytes / all; /* bytes a weight */
    double with_head = (double)s->turned_bytes / (all + embed);
    bool head = strangeness(with_head) < strangeness(scale);
    scale = head ? with_head : scale;
    const double order[] = {q, kv, kv, q, mlp, mlp, mlp};
    add_matrix(&c, embed * scale);
    for (int i = 0; i < s->n_layers; i++)
        for (size_t k = 0; k < sizeof order / sizeof *order; k++)
            add_matrix(&c, order[k] * scale);
    if (head)
        add_matrix(&c, embed * scale);
    double lost = c.bytes + whole_pages(c.in_chunk) - (double)s->turned_bytes;
    return lost > 0 ? (uint64_t)lost : 0;
}

uint64_t estimate_memory(const memory_shape *s, int ctx, nn_cache_form cache_type)
{
    uint64_t rows = (uint64_t)(ctx < SCHEDULER_CHUNK ? ctx : SCHEDULER_CHUNK);
    uint64_t heads = ((uint64_t)s->n_heads + 2 * (uint64_t)s->n_kv_heads) * (uint64_t)s->head_dim;
    /* Alive together at the widest point of a layer: the residual stream and its norm, q k v with
     * their rotations, or gate, up and their product. float32. */
    uint64_t mlp = 3 * (uint64_t)s->intermediate_size + 2 * (uint64_t)s->hidden_size;
    uint64_t attention = 2 * heads + 2 * (uint64_t)s->hidden_size;
    uint64_t activations = rows * 4 * (mlp > attention ? mlp : attention);
    uint64_t vocabulary = (uint64_t)s->vocab_size;
    return s->file_bytes + lost_in_pages(s) +
           cache_bytes(s, ctx, cache_type) + activations +
           vocabulary * BYTES_A_TOKEN + PROGRAM_BYTES;
}

int estimate_context(const memory_shape *s, uint64_t room, nn_cache_form cache_type, int most)
{
    int least = 0, blocks = most / NN_CACHE_BLOCK; /* the answer's blocks lie in [least, blocks] */
    while (least < blocks) {
        int middle = least + (blocks - least + 1) / 2;
        if (estimate_memory(s, middle * NN_CACHE_BLOCK, cache_type) <= room)
            least = middle;
        else
            blocks = middle - 1;
    }
    return least * NN_CACHE_BLOCK;
}

uint64_t estimate_quantized(uint64_t parameters, uint64_t matrix_parameters, int bits)
{
    uint64_t rest = parameters > matrix_parameters ? parameters - matrix_parameters : 0;
    return matrix_parameters / 8 * (uint64_t)bits + matrix_parameters / 64 * 4 + rest * 2;
}

uint64_t estimate_reserve(uint64_t total)
{
    const uint64_t most = (uint64_t)4 << 30;
    return total / 8 < most ? total / 8 : most;
}
