/*
 * sha256.h: SHA-256 (FIPS 180-4).
 */
#ifndef NX_BASE_SHA256_H
#define NX_BASE_SHA256_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint32_t state[8];
    uint64_t total; /* bytes fed */
    unsigned char block[64];
} nx_sha256;

void nx_sha256_init(nx_sha256 *h);
void nx_sha256_update(nx_sha256 *h, const void *bytes, size_t n);
void nx_sha256_final(nx_sha256 *h, unsigned char digest[32]);

/* 64 lowercase hexadecimal digits and a NUL. */
void nx_sha256_hex(const unsigned char digest[32], char hex[65]);
/* Of a whole file. False with an error if it cannot be read. */
bool nx_sha256_file(const char *path, char hex[65]);

#endif
