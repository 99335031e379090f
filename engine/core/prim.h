/*
 * prim.h: what an operation is: one const descriptor, in the one file that owns the operation.
 *
 * ops/prims.def lists all descriptors; nothing else enumerates them. The evaluator, the transforms,
 * printing and export know operations only through this struct.
 */
#ifndef NX_CORE_PRIM_H
#define NX_CORE_PRIM_H

#include "engine/core/array.h"

/* Shape and type of one output, as infer finds them. There is room for a rule that puts two dimensions
 * to another shape: too many are refused after it, and so are sizes beyond the address space. */
typedef struct {
    nx_dtype dtype;
    int ndim;
    int shape[NX_MAX_NDIM + 3];
} nx_spec;

static inline void nx_spec_set(nx_spec *spec, const int *shape, int ndim, nx_dtype dtype)
{
    spec->dtype = dtype;
    spec->ndim = ndim;
    for (int i = 0; i < ndim; i++)
        spec->shape[i] = shape[i];
}
static inline void nx_spec_like(nx_spec *spec, const nx_array *a, nx_dtype dtype)
{
    nx_spec_set(spec, a->shape, a->ndim, dtype);
}

/* One field of a parameter struct: enough to compare, hash, print and export any of them. Fields are
 * listed in the order of MLX's own state, which the export format needs. */
typedef enum {
    NX_FIELD_INT,    /* int */
    NX_FIELD_BOOL,   /* bool */
    NX_FIELD_FLOAT,  /* float */
    NX_FIELD_DOUBLE, /* double */
    NX_FIELD_DTYPE,  /* nx_dtype */
    NX_FIELD_INT64,  /* int64_t */
    NX_FIELD_UINT64, /* uint64_t */
    NX_FIELD_DIMS,   /* nx_dims */
    NX_FIELD_DIMS64, /* nx_dims64 */
    NX_FIELD_ENUM,   /* int, of a named set */
    NX_FIELD_SIZES,  /* nx_dims, of 64 bits each in files */
    NX_FIELD_UPPER,  /* bool, "U" or "L" in files */
    NX_FIELD_FALSE,  /* no field of ours: MLX tells two of our operations apart by it */
    NX_FIELD_TRUE,
} nx_field_type;
typedef struct {
    const char *name;
    nx_field_type type;
    size_t offset;
} nx_field;

enum {
    /* View: outputs are views of input 0 (or of any), made on the host by `view`, no kernel. Where
     * view answers false, the evaluator runs the kernel into fresh row-major outputs. */
    NX_PRIM_VIEW = 1 << 0,
    /* Elementwise: all inputs have the output's shape (builders broadcast). The output takes over
     * the layout the inputs share, and the memory of an input nobody else needs. */
    NX_PRIM_ELEMENTWISE = 1 << 1,
    /* The output begins as input 0 (same shape and type) and the kernel changes part of it:
     * input 0's memory is used when nobody else needs it, else it is copied first. The kernel sees
     * out[0] already filled and must not read in[0]. */
    NX_PRIM_UPDATES_FIRST = 1 << 2,
    /* The output may take input 0's memory: same size, both row-major, each output element written
     * after its inputs were read. */
    NX_PRIM_DONATES_FIRST = 1 << 3,
    /* Differentiation stops here. */
    NX_PRIM_NO_GRAD = 1 << 4,
    /* `infer` alone checks everything, and no parameter depends on the sizes of the inputs: a
     * compiled function may apply the operation to other sizes. (Elementwise ones always may.) */
    NX_PRIM_ANY_SHAPE = 1 << 5,
    /* The kernel waits for other processes: it runs on the stream's own thread, never on that of
     * whoever evaluates. */
    NX_PRIM_WAITS = 1 << 6,
    /* Batched one slice after another, on purpose: there is no better rule. */
    NX_PRIM_VMAP_SLICES = 1 << 7,
    /* The outputs are made to be kept: nx_buffer_new_kept. */
    NX_PRIM_KEPT = 1 << 8,
    /* As UPDATES_FIRST, of several: the outputs after the first begin as the last inputs, as many. */
    NX_PRIM_UPDATES_LAST = 1 << 9,
};

/* An operation that comes from outside, or on other sizes than it was made for: see nx_prim.rebuild. */
typedef struct {
    const nx_prim *prim;
    nx_array *const *in;
    int n_in, n_out;
    const void *params;
    const nx_spec *told; /* [n_out], what the outputs are said to be; NULL: nothing is said */
    nx_stream *s;
} nx_rebuild;

/* What MLX calls the operation's class and has as its state, in files of functions. */
typedef struct {
    const char *name;
    const nx_field *fields;
    int n_fields;
} nx_file_form;

struct nx_prim {
    const char *name; /* MLX's own: "Softmax" */
    int id;           /* nx_prim_id of ops/prims.h */
    unsigned flags;
    size_t params_size; /* bytes of the parameter struct, plain data; 0: none */
    const nx_field *fields;
    int n_fields;
    /* For parameters that refer to something counted (a function): a node made with a copy of them
     * takes its reference, and gives it back with its inputs. NULL: plain data. */
    void (*params_ref)(void *params);
    void (*params_drop)(void *params);
    unsigned dtypes; /* elementwise ones: the types of inputs they have loops for */
    /* Bit i: input i must be dense row-major; the evaluator copies where it is not. */
    unsigned row_inputs;

    /* Shapes and types of the n_out outputs; false after nx_fail. Inputs are of final types and
     * shapes (builders promote and broadcast before). */
    bool (*infer)(nx_array *const *in, int n_in, const void *params, nx_spec *out, int n_out);
    /* See NX_PRIM_VIEW: calls nx_array_set_view on every output. The inputs are laid out. */
    bool (*view)(nx_node *n);
    /* Rewrites the operation in terms of others where a backend has no kernel: n_out arrays, or
     * false after nx_fail. */
    bool (*decompose)(nx_node *n, nx_array **out);
    /* A kernel of the operation's own, on memory of the host's, whatever the device: for what is no
     * device's work. It may report a fault by nx_task_fail. NULL: the back end's. */
    const nx_kernel_entry *host;

    /* Differentiation and batching: built of other operations, owned by the build scope; false after
     * nx_fail. vjp: from the cotangents of all outputs the cotangent of each input i with wanted[i];
     * nx_array_none() stands for zero. jvp: from the tangents of the inputs (nx_array_none(): zero)
     * those of the outputs; where it is missing, graph/jvp.c derives it from vjp. vmap: the operation
     * on inputs that have one more dimension axes[i] (-1: as they were): outputs, and the axis that
     * each has more (-1: none). Where it is missing, or answers with nx_array_none() as its first
     * output because it has no rule for these axes, graph/vmap.c runs the operation once a slice. */
    bool (*vjp)(nx_node *n, nx_array *const *cotangents, const bool *wanted, nx_array **out);
    bool (*jvp)(nx_node *n, nx_array *const *tangents, nx_array **out);
    bool (*vmap)(nx_node *n, nx_array *const *in, const int *axes, nx_array **out, int *out_axes);

    /* Files of functions (graph/export.h). The operation by its builders, which check everything that
     * may come from outside: r->n_out arrays, or false after nx_fail. The number of inputs was checked
     * against least_in and most_in (0: any number). Without rebuild there is no such operation in
     * files: when written it is decomposed. */
    bool (*rebuild)(const nx_rebuild *r, nx_array **out);
    int least_in, most_in;
    const nx_file_form *file; /* NULL: `name` and `fields` */
    /* What is written in place of a node that MLX's operation cannot do as ours can (inputs of several
     * types, say): outputs of other operations, or out[0] == &n->out[0] for the node itself. */
    bool (*file_as)(nx_node *n, nx_array **out);
};

/* The descriptors, declared from the list; the definition is in the operation's file. */
#define NX_PRIM(name) extern const nx_prim nx_prim_##name;
#include "engine/ops/prims.def"
#undef NX_PRIM

/*
 * Making nodes. Inputs are borrowed (the node takes its own references); a NULL input returns NULL
 * without a new message, so that builders chain. A NULL *optional* input is given as nx_array_none().
 * The result belongs to the build scope of the calling thread (scope.h).
 */
nx_array *nx_op(const nx_prim *prim, const void *params, nx_array *const *in, int n_in, nx_stream *s);
/* The same for n_out outputs, into out. */
bool nx_op_n(const nx_prim *prim, const void *params, nx_array *const *in, int n_in, nx_stream *s,
             nx_array **out, int n_out);
/* r's operation, made new: by rebuild if it has one, else from infer. */
bool nx_op_rebuild(const nx_rebuild *r, nx_array **out);
/* The operation of `like` on other inputs, as many as its own; infer: of other shapes too. */
bool nx_op_like(const nx_node *like, nx_array *const *in, nx_stream *s, bool infer, nx_array **out);
/* Like nx_op, with the output already inferred by the caller (cheaper for hot builders). */
nx_array *nx_op_spec(const nx_prim *prim, const void *params, nx_array *const *in, int n_in,
                     nx_stream *s, const nx_spec *spec);

#endif
