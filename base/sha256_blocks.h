/*
 * sha256_blocks.h: the inner loop of SHA-256, in C and with the processor's own instructions.
 * Private to sha256.c and its test.
 */
#ifndef NX_BASE_SHA256_BLOCKS_H
#define NX_BASE_SHA256_BLOCKS_H

#include <stddef.h>
#include <stdint.h>

/* Feeds n blocks of 64 bytes. */
typedef void nx_sha256_blocks(uint32_t state[8], const unsigned char *p, size_t n);

extern const uint32_t nx_sha256_k[64];
nx_sha256_blocks nx_sha256_blocks_c;
/* NULL where this processor has no instructions for it. */
nx_sha256_blocks *nx_sha256_blocks_native(void);

#endif
