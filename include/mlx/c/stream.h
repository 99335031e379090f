/*
 * stream.h: streams: queues in which a device works off operations, in order.
 *
 * Operations on different streams may run at the same time; one that needs another's result waits
 * for it. A stream handle that is empty is an error where a stream is asked for.
 */
#ifndef MLX_C_STREAM_H
#define MLX_C_STREAM_H

#include <stdbool.h>

#include "mlx/c/device.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A queue of a device. */
typedef struct mlx_stream_ {
    void *ctx;
} mlx_stream;

/* An empty handle. */
mlx_stream mlx_stream_new(void);
/* A new queue on a device. */
mlx_stream mlx_stream_new_device(mlx_device dev);
/* Makes *stream a copy of src. */
int mlx_stream_set(mlx_stream *stream, const mlx_stream src);
/* Frees the handle; the queue lives on. */
int mlx_stream_free(mlx_stream stream);
/* Text such as "Stream(Device(cpu, 0), 0)". */
int mlx_stream_tostring(mlx_string *str, mlx_stream stream);
bool mlx_stream_equal(mlx_stream lhs, mlx_stream rhs);
int mlx_stream_get_device(mlx_device *dev, mlx_stream stream);
int mlx_stream_get_index(int *index, mlx_stream stream);
/* Waits until all work given to the stream is done; reports what failed in it. */
int mlx_synchronize(mlx_stream stream);

/* Each device has a default stream. */
int mlx_get_default_stream(mlx_stream *stream, mlx_device dev);
/* Makes stream the default of its device. */
int mlx_set_default_stream(mlx_stream stream);
/* A handle of the CPU's default stream. */
mlx_stream mlx_default_cpu_stream_new(void);
/* A handle of the first GPU's. */
mlx_stream mlx_default_gpu_stream_new(void);

#ifdef __cplusplus
}
#endif

#endif
