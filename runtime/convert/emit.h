/*
 * emit.h: the bytes of a tensor of the target, made a few rows at a time.
 */
#ifndef NX_RUNTIME_CONVERT_EMIT_H
#define NX_RUNTIME_CONVERT_EMIT_H

#include "base/str.h"
#include "runtime/convert/plan.h"

/* Where bytes go; false stops. */
typedef bool (*emit_sink)(void *arg, const void *bytes, size_t n);
/* Told after each piece how many bytes of the target are done; false stops. */
typedef bool (*emit_progress)(void *arg, uint64_t bytes);

typedef struct {
    plan *plan;
    emit_sink sink;
    void *sink_arg;
    emit_progress progress;
    void *progress_arg;
    uint64_t done;
} emitter;

/* All of a tensor, in the order data, scales, biases. */
bool emit_tensor(emitter *e, const out_tensor *o);
/* Numbers as they are once stored so, of some rows: what a quantization loses. x and y [n, cols]. */
bool emit_trial(const storage *as, const float *x, int64_t n, int64_t cols, const float *shares,
                float *y);
/* What calibration says of the columns of a weight: [cols], or NULL. */
const float *emit_importance(const plan *p, const item *t);

#endif
