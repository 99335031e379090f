/* gemm_tmpl.c: the blocked product (gemm.h) for float and double. */
#include "engine/cpu/gemm.h"

#include "engine/cpu/pool.h"
#include "engine/cpu/simd.h"

/* Accumulators: NX_GEMM_MR rows by GEMM_NV vectors, so that they, the panel's vectors and one broadcast fit the
 * registers (32 of AVX-512 and NEON, 16 else). MB rows are a block, each of which reads all of b once
 * from the outer caches; KC is the depth of a panel. The accumulators of a group take up to 150 KB of stack.
 * AHEAD: a and the next panel are asked for at each step of k; else a share of the panel alone, at once. */
#if defined(NX_ISA_avx512) || defined(__aarch64__)
#define GEMM_NV 3
#define GEMM_MB 96
#define GEMM_KC 192
#define GEMM_AHEAD 1
#else
#define GEMM_NV 2
#define GEMM_MB 192
#define GEMM_KC 256
#define GEMM_AHEAD 0
#endif

enum {
    GEMM_LARGE_M = 144,      /* from here on a and b are packed once, if there is workspace */
    GEMM_LARGE_N = 96,
    GEMM_LARGE_K = 32,
    GEMM_A_BYTES = 32 << 20, /* of a and of b packed at a time, unless a block alone is more */
    GEMM_B_BYTES = 8 << 20,
    GEMM_GROUP = 4,          /* panels multiplied together, at most */
    GEMM_KEPT = 2 << 20,     /* bytes of a's rows from which on they are */
    GEMM_PIECE = 256 * 1024, /* multiplications worth a hand-over to another thread */
};

#define T        float
#define V        vf
#define V_N      VF_N
#define V_OP(op) vf_##op
#define NB       NX_GEMM_NB
#define G(name)  name##_f32
#include "engine/cpu/gemm_body.h"
#undef T
#undef V
#undef V_N
#undef V_OP
#undef NB
#undef G

#define T        double
#define V        vd
#define V_N      VD_N
#define V_OP(op) vd_##op
#define NB       NX_GEMM_NB_F64
#define G(name)  name##_f64
#include "engine/cpu/gemm_body.h"

void NX_FN(nx_gemm_f32)(const nx_gemm *g)
{
    run_f32(g);
}

void NX_FN(nx_gemm_f64)(const nx_gemm *g)
{
    run_f64(g);
}

size_t NX_FN(nx_gemm_workspace)(bool doubles, int64_t m, int64_t n, int64_t k)
{
    return doubles ? workspace_f64(m, n, k) : workspace_f32(m, n, k);
}
