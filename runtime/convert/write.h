/*
 * write.h: the files of the target.
 */
#ifndef NX_RUNTIME_CONVERT_WRITE_H
#define NX_RUNTIME_CONVERT_WRITE_H

#include "runtime/convert/emit.h"

typedef NX_VEC(size_t) shard_ends; /* after which tensor each file ends */

/* Cuts the tensors into files of at most `most` bytes (0: one file), each of at least one tensor. */
void write_shards(const plan *p, uint64_t most, shard_ends *out);

/* All files of a folder. False with a message. */
bool write_folder(emitter *e, const char *folder, const shard_ends *shards);
/* folder/NAME.gguf, or its parts. `name` without ".gguf". */
bool write_gguf(emitter *e, const char *folder, const char *name, const shard_ends *shards);

#endif
