#include "runtime/convert/write.h"

#include <stdio.h>
#include <string.h>

void write_shards(const plan *p, uint64_t most, shard_ends *out)
{
    uint64_t held = 0, parts[3];
    for (size_t i = 0; i < p->tensors.n; i++) {
        uint64_t n = out_bytes(&p->tensors.at[i], parts);
        if (most && held && held + n > most) {
            nx_vec_push(out, i);
            held = 0;
        }
        held += n;
    }
    nx_vec_push(out, p->tensors.n);
}
