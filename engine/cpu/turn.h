/*
 * turn.h: matrices turned in blocks that lie in registers: what makes a transposed copy as fast as
 * memory. Included by copy_tmpl.c alone.
 *
 * A turn_fn puts from[i + j * from_j] into to[i * to_i + j], for i < ni and j < nj. It goes over j in
 * steps of a cache line of output, so that lines are written whole.
 */
#include <stdint.h>
#include <string.h>

typedef void (*turn_fn)(int64_t ni, int64_t nj, const void *from, int64_t from_j, void *to, int64_t to_i);

#define PAIRS(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)

#if defined(NX_ISA_avx2) || defined(NX_ISA_avx512)
enum { BLOCK_4 = 8 };
typedef uint32_t lane_4 __attribute__((vector_size(32)));
#define LOW_1(a, b)  PAIRS(a, b, 0, 8, 1, 9, 4, 12, 5, 13)
#define HIGH_1(a, b) PAIRS(a, b, 2, 10, 3, 11, 6, 14, 7, 15)
#define LOW_2(a, b)  PAIRS(a, b, 0, 1, 8, 9, 4, 5, 12, 13)
#define HIGH_2(a, b) PAIRS(a, b, 2, 3, 10, 11, 6, 7, 14, 15)
#define LOW_4(a, b)  PAIRS(a, b, 0, 1, 2, 3, 8, 9, 10, 11)
#define HIGH_4(a, b) PAIRS(a, b, 4, 5, 6, 7, 12, 13, 14, 15)

/* Neighbours of two rows are put side by side, then pairs of four, then quadruples of eight. */
static inline void block_4(const uint32_t *from, int64_t from_j, uint32_t *to, int64_t to_i)
{
    lane_4 r[8], t[8], u[8];
    for (int j = 0; j < 8; j++)
        memcpy(&r[j], from + j * from_j, sizeof r[j]);
    for (int j = 0; j < 8; j += 2) {
        t[j] = LOW_1(r[j], r[j + 1]);
        t[j + 1] = HIGH_1(r[j], r[j + 1]);
    }
    for (int j = 0; j < 8; j += 4) {
        u[j] = LOW_2(t[j], t[j + 2]);
        u[j + 1] = HIGH_2(t[j], t[j + 2]);
        u[j + 2] = LOW_2(t[j + 1], t[j + 3]);
        u[j + 3] = HIGH_2(t[j + 1], t[j + 3]);
    }
    for (int i = 0; i < 4; i++) {
        lane_4 low = LOW_4(u[i], u[i + 4]), high = HIGH_4(u[i], u[i + 4]);
        memcpy(to + i * to_i, &low, sizeof low);
        memcpy(to + (i + 4) * to_i, &high, sizeof high);
    }
}
#else
enum { BLOCK_4 = 4 };
typedef uint32_t lane_4 __attribute__((vector_size(16)));

static inline void block_4(const uint32_t *from, int64_t from_j, uint32_t *to, int64_t to_i)
{
    lane_4 r[4], t[4], out;
    for (int j = 0; j < 4; j++)
        memcpy(&r[j], from + j * from_j, sizeof r[j]);
    for (int j = 0; j < 4; j += 2) {
        t[j] = PAIRS(r[j], r[j + 1], 0, 4, 1, 5);
        t[j + 1] = PAIRS(r[j], r[j + 1], 2, 6, 3, 7);
    }
    for (int i = 0; i < 2; i++) {
        out = PAIRS(t[i], t[i + 2], 0, 1, 4, 5);
        memcpy(to + 2 * i * to_i, &out, sizeof out);
        out = PAIRS(t[i], t[i + 2], 2, 3, 6, 7);
        memcpy(to + (2 * i + 1) * to_i, &out, sizeof out);
    }
}
#endif

enum { BLOCK_2 = 8 };
typedef uint16_t lane_2 __attribute__((vector_size(16)));

static inline void block_2(const uint16_t *from, int64_t from_j, uint16_t *to, int64_t to_i)
{
    lane_2 r[8], t[8], u[8];
    for (int j = 0; j < 8; j++)
        memcpy(&r[j], from + j * from_j, sizeof r[j]);
    for (int j = 0; j < 8; j += 2) {
        t[j] = PAIRS(r[j], r[j + 1], 0, 8, 1, 9, 2, 10, 3, 11);
        t[j + 1] = PAIRS(r[j], r[j + 1], 4, 12, 5, 13, 6, 14, 7, 15);
    }
    for (int j = 0; j < 8; j += 4)
        for (int k = 0; k < 2; k++) {
            u[j + 2 * k] = PAIRS(t[j + k], t[j + k + 2], 0, 1, 8, 9, 2, 3, 10, 11);
            u[j + 2 * k + 1] = PAIRS(t[j + k], t[j + k + 2], 4, 5, 12, 13, 6, 7, 14, 15);
        }
    for (int i = 0; i < 4; i++) {
        lane_2 low = PAIRS(u[i], u[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
        lane_2 high = PAIRS(u[i], u[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
        memcpy(to + 2 * i * to_i, &low, sizeof low);
        memcpy(to + (2 * i + 1) * to_i, &high, sizeof high);
    }
}

enum { BLOCK_1 = 8, BLOCK_8 = 4 };
#define PLAIN_BLOCK(T, bytes)                                                                      \
    static inline void block_##bytes(const T *restrict from, int64_t from_j, T *restrict to,       \
                                     int64_t to_i)                                                 \
    {                                                                                              \
        for (int i = 0; i < BLOCK_##bytes; i++)                                                    \
            for (int j = 0; j < BLOCK_##bytes; j++)                                                \
                to[i * to_i + j] = from[i + j * from_j];                                           \
    }
PLAIN_BLOCK(uint8_t, 1)
PLAIN_BLOCK(uint64_t, 8)

#define TURN(T, bytes)                                                                             \
    static void turn_##bytes(int64_t ni, int64_t nj, const void *from, int64_t from_j, void *to,   \
                             int64_t to_i)                                                         \
    {                                                                                              \
        enum { B = BLOCK_##bytes, LINE = 64 / bytes };                                             \
        const T *restrict x = from;                                                                \
        T *restrict y = to;                                                                        \
        int64_t wi = ni / B * B, wj = nj / B * B;                                                  \
        for (int64_t line = 0; line < wj; line += LINE) {                                          \
            int64_t end = line + LINE < wj ? line + LINE : wj;                                     \
            for (int64_t i = 0; i < wi; i += B)                                                    \
                for (int64_t j = line; j < end; j += B)                                            \
                    block_##bytes(x + i + j * from_j, from_j, y + i * to_i + j, to_i);             \
        }                                                                                          \
        for (int64_t i = 0; i < ni; i++)                                                           \
            for (int64_t j = i < wi ? wj : 0; j < nj; j++)                                         \
                y[i * to_i + j] = x[i + j * from_j];                                               \
    }
TURN(uint8_t, 1)
TURN(uint16_t, 2)
TURN(uint32_t, 4)
TURN(uint64_t, 8)
