/*
 * fast_kernel.h: what is behind the handles of kernels in source form and of the settings they are
 * called with. CUDA's and Metal's have the same; a back end that can compile them reads these.
 */
#ifndef NX_CAPI_FAST_KERNEL_H
#define NX_CAPI_FAST_KERNEL_H

#include "engine/capi/objects.h"

typedef struct {
    nx_dims shape;
    nx_dtype dtype;
} nx_kernel_output;

/* A name of the source that stands for a type or a number. */
typedef struct {
    char *name;
    enum { NX_TEMPLATE_DTYPE, NX_TEMPLATE_INT, NX_TEMPLATE_BOOL } kind;
    int value; /* an nx_dtype, a number, 0 or 1 */
} nx_kernel_template;

typedef struct {
    NX_VEC(nx_kernel_output) outputs;
    NX_VEC(nx_kernel_template) templates;
    int grid[3], group[3]; /* 1 until set */
    bool has_init;         /* outputs are filled with `init` before the kernel runs */
    float init;
    bool verbose;
} nx_kernel_config;

typedef struct {
    char *name, *source, *header;
    nx_string_vec inputs, outputs;
    bool row_inputs; /* inputs are to be row-major */
    int option;      /* CUDA: bytes of shared memory; Metal: whether outputs are atomic */
} nx_source_kernel;

#endif
