/* threefry.h: Threefry 2x32 with 20 rounds (Salmon and others, 2011): a counter and a key in, two
 * random words out. */
#ifndef NX_CORE_THREEFRY_H
#define NX_CORE_THREEFRY_H

#include <stdint.h>

typedef struct {
    uint32_t first, second;
} nx_pair;

static inline uint32_t nx_rotate_left(uint32_t x, int n)
{
    return x << n | x >> (32 - n);
}

#define NX_THREEFRY_ROUND(n)     \
    a += b;                      \
    b = nx_rotate_left(b, n) ^ a;
/* Four rounds, then the next two words of the key. */
#define NX_THREEFRY_STEP(r0, r1, r2, r3, ka, kb, count)                                           \
    NX_THREEFRY_ROUND(r0) NX_THREEFRY_ROUND(r1) NX_THREEFRY_ROUND(r2) NX_THREEFRY_ROUND(r3)       \
    a += ka;                                                                                      \
    b += kb + count;

static inline nx_pair nx_threefry(uint32_t k0, uint32_t k1, uint32_t a, uint32_t b)
{
    uint32_t k2 = k0 ^ k1 ^ 0x1BD11BDA;
    a += k0;
    b += k1;
    NX_THREEFRY_STEP(13, 15, 26, 6, k1, k2, 1)
    NX_THREEFRY_STEP(17, 29, 16, 24, k2, k0, 2)
    NX_THREEFRY_STEP(13, 15, 26, 6, k0, k1, 3)
    NX_THREEFRY_STEP(17, 29, 16, 24, k1, k2, 4)
    NX_THREEFRY_STEP(13, 15, 26, 6, k2, k0, 5)
    return (nx_pair){a, b};
}

#endif
