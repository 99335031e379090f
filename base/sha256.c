#include "base/sha256.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/sha256_blocks.h"

/* The first 32 bits of the fractional parts of the cube roots of the first 64 primes. */
const uint32_t nx_sha256_k[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static inline uint32_t ror(uint32_t x, int n)
{
    return x >> n | x << (32 - n);
}

static void expand(uint32_t w[64], const unsigned char *p)
{
    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)p[4 * i] << 24 | (uint32_t)p[4 * i + 1] << 16 |
               (uint32_t)p[4 * i + 2] << 8 | p[4 * i + 3];
    for (int i = 16; i < 64; i++) {
        uint32_t a = w[i - 15], b = w[i - 2];
        w[i] = w[i - 16] + (ror(a, 7) ^ ror(a, 18) ^ a >> 3) + w[i - 7] +
               (ror(b, 17) ^ ror(b, 19) ^ b >> 10);
    }
}

static void compress(uint32_t h[8], const unsigned char *p)
{
    uint32_t w[64], a = h[0], b = h[1], c = h[2], d = h[3], e = h[4], f = h[5], g = h[6], k = h[7];
    expand(w, p);
    for (int i = 0; i < 64; i++) {
        uint32_t t1 = k + (ror(e, 6) ^ ror(e, 11) ^ ror(e, 25)) + ((e & f) ^ (~e & g)) +
                      nx_sha256_k[i] + w[i];
        uint32_t t2 = (ror(a, 2) ^ ror(a, 13) ^ ror(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
        k = g, g = f, f = e, e = d + t1;
        d = c, c = b, b = a, a = t1 + t2;
    }
    h[0] += a, h[1] += b, h[2] += c, h[3] += d;
    h[4] += e, h[5] += f, h[6] += g, h[7] += k;
}

void nx_sha256_blocks_c(uint32_t state[8], const unsigned char *p, size_t n)
{
    for (; n; n--, p += 64)
        compress(state, p);
}

/* The fastest that this processor has, asked once. */
static nx_sha256_blocks *blocks(void)
{
    static _Atomic(nx_sha256_blocks *) chosen;
    nx_sha256_blocks *f = atomic_load_explicit(&chosen, memory_order_relaxed);
    if (!f) {
        f = nx_sha256_blocks_native();
        f = f ? f : nx_sha256_blocks_c;
        atomic_store_explicit(&chosen, f, memory_order_relaxed);
    }
    return f;
}

void nx_sha256_init(nx_sha256 *h)
{
    static const uint32_t start[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    memcpy(h->state, start, sizeof start);
    h->total = 0;
}

void nx_sha256_update(nx_sha256 *h, const void *bytes, size_t n)
{
    const unsigned char *p = bytes;
    size_t held = h->total % 64;
    if (!n)
        return;
    h->total += n;
    if (held) {
        size_t k = 64 - held < n ? 64 - held : n;
        memcpy(h->block + held, p, k);
        p += k;
        n -= k;
        if (held + k < 64)
            return;
        blocks()(h->state, h->block, 1);
    }
    blocks()(h->state, p, n / 64);
    if (n % 64)
        memcpy(h->block, p + n / 64 * 64, n % 64);
}

void nx_sha256_final(nx_sha256 *h, unsigned char digest[32])
{
    static const unsigned char mark[64] = {0x80};
    uint64_t bits = h->total * 8;
    unsigned char length[8];
    for (int i = 0; i < 8; i++)
        length[i] = (unsigned char)(bits >> (56 - 8 * i));
    /* one 1 bit, zeros to 8 bytes before a block's end, the length in bits */
    nx_sha256_update(h, mark, 1 + (119 - h->total % 64) % 64);
    nx_sha256_update(h, length, 8);
    for (int i = 0; i < 32; i++)
        digest[i] = (unsigned char)(h->state[i / 4] >> (24 - 8 * (i % 4)));
}

void nx_sha256_hex(const unsigned char digest[32], char hex[65])
{
    for (int i = 0; i < 32; i++) {
        hex[2 * i] = "0123456789abcdef"[digest[i] >> 4];
        hex[2 * i + 1] = "0123456789abcdef"[digest[i] & 15];
    }
    hex[64] = '\0';
}

static bool feed_descriptor(nx_sha256 *h, int fd, const char *path)
{
    enum { PIECE = 1 << 20 };
    unsigned char *piece = nx_malloc(PIECE);
    ssize_t n;
    while ((n = read(fd, piece, PIECE)) > 0 || (n < 0 && errno == EINTR))
        if (n > 0)
            nx_sha256_update(h, piece, (size_t)n);
    int why = errno;
    free(piece);
    return n == 0 || nx_fail("[file] cannot read %s: %s", path, strerror(why));
}

bool nx_sha256_file(const char *path, char hex[65])
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return nx_fail("[file] cannot open %s: %s", path, strerror(errno));
    nx_sha256 h;
    nx_sha256_init(&h);
    bool ok = feed_descriptor(&h, fd, path);
    close(fd);
    if (ok) {
        unsigned char digest[32];
        nx_sha256_final(&h, digest);
        nx_sha256_hex(digest, hex);
    }
    return ok;
}
