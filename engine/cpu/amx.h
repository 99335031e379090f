/*
 * amx.h: the eight tile registers of Intel's AMX, of the calling thread. A tile is up to 16 rows of
 * up to 64 bytes; the products are sums of a row's by a column's:
 *
 *     amx_dot_i8(c, a, b): int32 c[i][j] += sum over k of a[i][k] b[k / 4][4 j + k % 4], a signed
 *     amx_dot_bf16(c, a, b): float c[i][j] += the same of pairs, b[k / 2][2 j + k % 2]
 *
 * The second sums even and odd k each in one chain over k ascending, adds the two, and that to c;
 * subnormal numbers count as zero. Whoever uses tiles configures them first and releases them
 * after; numbers of tiles are literals. Where NX_ISA_emulated is defined all this is plain C, so
 * that what is built on it can be tested on any processor. The instructions are written out, since
 * compilers do not see what tile loads and configurations read.
 */
#ifndef NX_CPU_AMX_H
#define NX_CPU_AMX_H

#include <stdint.h>
#include <string.h>

#include "engine/core/half.h"

/* As the processor reads it: palette 1, then bytes a row and rows of each tile. */
typedef struct {
    uint8_t palette, start, zeros[14];
    uint16_t bytes[16];
    uint8_t rows[16];
} amx_config;

/* Tiles 0 to 3 are results, rows x 16; 4 and 5 rows of a, rows x bytes; 6 and 7 lines of b, bytes / 4 x
 * 16 columns of four bytes. */
static inline amx_config amx_config_of(int rows, int bytes)
{
    amx_config c = {.palette = 1};
    for (int t = 0; t < 8; t++) {
        c.bytes[t] = (uint16_t)(t == 4 || t == 5 ? bytes : 64);
        c.rows[t] = (uint8_t)(t < 6 ? rows : bytes / 4);
    }
    return c;
}

#if defined(NX_ISA_amx)

#define AMX_ASM(...) __asm__ volatile(__VA_ARGS__)
static inline void amx_configure(const amx_config *c)
{
    AMX_ASM("ldtilecfg %0" ::"m"(*c));
}
static inline void amx_release(void)
{
    AMX_ASM("tilerelease");
}
#define amx_zero(t) AMX_ASM("tilezero %%tmm" #t ::)
#define amx_load(t, from, row_bytes)                                                               \
    AMX_ASM("tileloadd (%0,%1,1), %%tmm" #t ::"r"(from), "r"((int64_t)(row_bytes)) : "memory")
#define amx_store(t, to, row_bytes)                                                                \
    AMX_ASM("tilestored %%tmm" #t ", (%0,%1,1)" ::"r"(to), "r"((int64_t)(row_bytes)) : "memory")
/* b signed or unsigned */
#define amx_dot_i8(c, a, b)   AMX_ASM("tdpbssd %%tmm" #b ", %%tmm" #a ", %%tmm" #c ::)
#define amx_dot_iu8(c, a, b)  AMX_ASM("tdpbsud %%tmm" #b ", %%tmm" #a ", %%tmm" #c ::)
#define amx_dot_bf16(c, a, b) AMX_ASM("tdpbf16ps %%tmm" #b ", %%tmm" #a ", %%tmm" #c ::)

#elif defined(NX_ISA_emulated)

static _Thread_local struct {
    amx_config config;
    uint8_t tile[8][16][64];
} amx_state;

static inline void amx_configure(const amx_config *c)
{
    amx_state.config = *c;
    memset(amx_state.tile, 0, sizeof amx_state.tile);
}
static inline void amx_release(void)
{
    amx_configure(&(amx_config){0});
}
static inline void amx_zero(int t)
{
    memset(amx_state.tile[t], 0, sizeof amx_state.tile[t]);
}
static inline void amx_load(int t, const void *from, int64_t row_bytes)
{
    amx_zero(t);
    for (int r = 0; r < amx_state.config.rows[t]; r++)
        memcpy(amx_state.tile[t][r], (const char *)from + r * row_bytes, amx_state.config.bytes[t]);
}
static inline void amx_store(int t, void *to, int64_t row_bytes)
{
    for (int r = 0; r < amx_state.config.rows[t]; r++)
        memcpy((char *)to + r * row_bytes, amx_state.tile[t][r], amx_state.config.bytes[t]);
}
static inline void amx_dot_bytes(int c, int a, int b, int is_signed)
{
    for (int i = 0; i < amx_state.config.rows[c]; i++)
        for (int j = 0; j < amx_state.config.bytes[c] / 4; j++) {
            uint32_t sum;
            memcpy(&sum, &amx_state.tile[c][i][4 * j], 4);
            for (int k = 0; k < amx_state.config.bytes[a]; k++) {
                uint8_t w = amx_state.tile[b][k / 4][4 * j + k % 4];
                sum += (uint32_t)((int8_t)amx_state.tile[a][i][k] * (is_signed ? (int8_t)w : w));
            }
            memcpy(&amx_state.tile[c][i][4 * j], &sum, 4);
        }
}
static inline void amx_dot_i8(int c, int a, int b)
{
    amx_dot_bytes(c, a, b, 1);
}
static inline void amx_dot_iu8(int c, int a, int b)
{
    amx_dot_bytes(c, a, b, 0);
}
static inline float amx_bf16_at(int t, int row, int i)
{
    uint16_t x;
    memcpy(&x, &amx_state.tile[t][row][2 * i], 2);
    return nx_bf16_to_float(x);
}
static inline void amx_dot_bf16(int c, int a, int b)
{
    for (int i = 0; i < amx_state.config.rows[c]; i++)
        for (int j = 0; j < amx_state.config.bytes[c] / 4; j++) {
            float sum, half[2] = {0};
            memcpy(&sum, &amx_state.tile[c][i][4 * j], 4);
            for (int k = 0; k < amx_state.config.bytes[a] / 2; k++)
                half[k % 2] += amx_bf16_at(a, i, k) * amx_bf16_at(b, k / 2, 2 * j + k % 2);
            sum += half[0] + half[1];
            memcpy(&amx_state.tile[c][i][4 * j], &sum, 4);
        }
}

#endif

#if defined(NX_ISA_amx) || defined(NX_ISA_emulated)
#define NX_HAS_AMX 1
#endif

#endif
