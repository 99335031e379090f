/*
 * isa.h: instruction-set levels. Kernel templates (*_tmpl.c) are compiled once a level with NX_ISA
 * set to its name; the best the processor has is chosen at start, or the one NEXUS_ISA names.
 */
#ifndef NX_CPU_ISA_H
#define NX_CPU_ISA_H

#include "engine/core/backend.h"

/* In a template: NX_FN(softmax) is softmax_avx2 and so on. */
#define NX_FN_JOIN(name, isa) name##_##isa
#define NX_FN_PASTE(name, isa) NX_FN_JOIN(name, isa)
#define NX_FN(name) NX_FN_PASTE(name, NX_ISA)
/* A level may be another one in which only some templates are compiled anew (engine/CMakeLists.txt lists
 * them). Of the others it takes the functions of the level below: NX_BELOW(copy). */
#ifdef NX_ISA_BELOW
#define NX_BELOW(name) NX_FN_PASTE(name, NX_ISA_BELOW)
#else
#define NX_BELOW(name) NX_FN(name)
#endif
/* Of a level that multiplies only floats anew those of quantized matrices are of the level below too. */
#if defined(NX_ISA_avx512_bf16) || defined(NX_ISA_emulated_bf16)
#define NX_QUANTIZED(name) NX_BELOW(name)
#else
#define NX_QUANTIZED(name) NX_FN(name)
#endif

/* The kernel table of the level in use. */
const nx_kernel_entry *nx_cpu_kernels(void);
/* Its name: "base", "avx2", "avx512", "avx512_bf16", "amx", "neon". */
const char *nx_cpu_isa_name(void);
/* Levels this build has and this processor can run, best last; for tests over all of them. */
int nx_cpu_isa_count(void);
const char *nx_cpu_isa_name_at(int i);
const nx_kernel_entry *nx_cpu_isa_kernels_at(int i);

#endif
