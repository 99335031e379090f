#include "runtime/catalog/estimate.h"

#include "runtime/generate/scheduler.h"

/* Code, libraries and stacks; and a vocabulary's strings, merges and hashes, per token. */
enum { PROGRAM_BYTES = 5 << 20, BYTES_A_TOKEN = 320 };

uint64_t estimate_memory(const model *m, uint64_t file_bytes, int ctx, mlx_dtype cache_type)
{
    uint64_t rows = (uint64_t)(ctx < SCHEDULER_CHUNK ? ctx : SCHEDULER_CHUNK);
    uint64_t heads = (uint64_t)(m->n_heads + 2 * m->n_kv_heads) * (uint64_t)m->head_dim;
    /* Alive together at the widest point of a layer: the residual stream and its norm, q k v with
     * their rotations, or gate, up and their product. float32. */
    uint64_t mlp = 3 * (uint64_t)m->intermediate_size + 2 * (uint64_t)m->hidden_size;
    uint64_t attention = 2 * heads + 2 * (uint64_t)m->hidden_size;
    uint64_t activations = rows * 4 * (mlp > attention ? mlp : attention);
    uint64_t vocabulary = (uint64_t)m->vocab_size;
    return file_bytes +
           nn_cache_bytes(m->n_layers, m->n_kv_heads, m->head_dim, cache_type, ctx) + activations +
           vocabulary * (4 + 3 * 4 + BYTES_A_TOKEN) + PROGRAM_BYTES;
}
