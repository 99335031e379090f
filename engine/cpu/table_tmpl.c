/*
 * table_tmpl.c: the CPU's kernels by primitive, one table a level. A primitive without a row is
 * decomposed by the evaluator.
 */
#include "engine/cpu/isa.h"
#include "engine/cpu/kernels.h"
#include "engine/ops/prims.h"

extern const nx_kernel_entry NX_FN(nx_kernels)[NX_PRIM_COUNT];

const nx_kernel_entry NX_FN(nx_kernels)[NX_PRIM_COUNT] = {
    [NX_PRIM_Copy] = {NX_FN(copy), NULL},
    [NX_PRIM_AsType] = {NX_FN(copy), NULL},
};
