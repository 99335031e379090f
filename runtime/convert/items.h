/*
 * items.h: the weights of a source one by one, read as numbers or bytes a few rows at a time,
 * whatever format they are stored in: nothing holds a whole model, nor a whole matrix but where one
 * must be turned.
 */
#ifndef NX_RUNTIME_CONVERT_ITEMS_H
#define NX_RUNTIME_CONVERT_ITEMS_H

#include "runtime/catalog/package.h"
#include "runtime/models/model.h"
#include "runtime/nn/weights.h"

typedef enum { ITEM_PLAIN, ITEM_BLOCKS, ITEM_AFFINE, ITEM_FOREIGN } item_form;

/* One tensor, or what is stored in its place. */
typedef struct {
    item_form form;
    const nn_tensor *w, *scales, *biases; /* of ITEM_FOREIGN none: it is unpacked when it is read */
    int group_size, bits;
    char mode[16];
    nn_weight unpacked;
    nn_tensor words; /* w, where mxfp4 is stored in blocks of bytes */
    char *name;
} item_part;

/* Rows are matrices' rows of all experts one after another; a vector has as many rows as numbers. */
typedef struct {
    const weight_row *row, *stored; /* whose names the target takes; whose the source has */
    int layer;
    item_part *parts; /* one, or each expert's */
    int n_parts, experts; /* 0: no experts */
    int64_t rows, cols;   /* of all experts together */
    bool vector;
    int type;       /* an nx_ggml_id that says how its numbers lie: of affine ones the scales' */
    int ndim;       /* of a plain tensor of more dimensions than a matrix: kept as it is */
    int shape[8];
    int pair_heads; /* GGUF's copy has the rows of each of so many heads in pairs; 0: as elsewhere */
    int kv_groups;  /* config.json's copy has the rows of q, k and v by KV head; 0: as elsewhere */
    int kv_share;   /* with kv_groups: q's heads to one */
    int8_t log;     /* 1: numbers x become -exp(x), -1: log(-x) */
    int64_t every, take, skip; /* of a divided matrix: of each `every` rows the `take` after `skip`; every 0:
                                  all rows */
    bool turned;    /* the source's matrix is the transposed of the target's */
    float shift;    /* added to the numbers */
    float *whole;   /* of a turned one, while it is read */
    package *from;
} item;

typedef NX_VEC(item) item_vec;

/* All weights of the package. False with a message. */
bool items_list(item_vec *out, package *p, const model *m);
void items_clear(item_vec *v);
/* Another of the same tensors, for items_clear to free. */
item item_copy(const item *t);
/* Whether its codes and scales are mxfp4's, MLX's or GGUF's. */
bool item_is_mxfp4(const item *t);

/* Its size in the target: of a turned one the other way round. */
int64_t item_rows(const item *t);
int64_t item_cols(const item *t);

/* Rows begin .. begin + n - 1 in the target's order, as float32 to out [n, cols]. For an item with
 * pair_heads n is whole heads (item_step). `to_gguf` says which way the pairs go. */
bool item_read(item *t, bool to_gguf, int64_t begin, int64_t n, float *out);
/* Bytes of a row as stored (ITEM_PLAIN and ITEM_BLOCKS), 0 where rows are not whole bytes. */
size_t item_row_bytes(const item *t);
/* Such rows, in the target's order. */
bool item_bytes(item *t, bool to_gguf, int64_t begin, int64_t n, unsigned char *out);
/* Rows that are put in order together: 1, those of a head, or all. */
int64_t item_step(const item *t);
/* Rows that each part stores. */
int64_t item_part_rows(const item *t);
/* Rows from begin on that lie in one part, at most n. */
int64_t item_run(const item *t, int64_t begin, int64_t n);
/* The part in which a row lies, and its row there. */
item_part *item_at(item *t, int64_t row, int64_t *within);
/* Unpacks an ITEM_FOREIGN part, unless it is. It stays so until its last row was read as numbers, or
 * the list is cleared. */
bool item_unpack(item *t, item_part *p);
/* Puts rows of `bytes` each in order, in place. */
void item_order(const item *t, bool to_gguf, void *rows, int64_t n, size_t bytes);
/* The pages of these rows are not needed again. */
void item_release(item *t, int64_t begin, int64_t n);

#endif
