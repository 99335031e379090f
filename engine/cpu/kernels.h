/*
 * kernels.h: the kernels of one instruction-set level (NX_FN adds its name). Each is defined in the
 * template its section names.
 */
#ifndef NX_CPU_KERNELS_H
#define NX_CPU_KERNELS_H

#include "engine/cpu/isa.h"

/* copy_tmpl.c: any strides, any types: out = (type of out)in */
void NX_FN(copy)(const nx_call *c);

#endif
