/*
 * device.h: the machine's devices: a CPU and GPUs.
 *
 * Arrays belong to no device; operations run on a stream (stream.h), and a stream is a device's.
 * Where a parameter is a device and the handle is empty, that is an error.
 */
#ifndef MLX_C_DEVICE_H
#define MLX_C_DEVICE_H

#include <stdbool.h>
#include <stddef.h>

#include "mlx/c/string.h"
#include "mlx/c/vector.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A kind of device and its index. */
typedef struct mlx_device_ {
    void *ctx;
} mlx_device;

typedef enum mlx_device_type_ {
    MLX_CPU = 0,
    MLX_GPU = 1,
} mlx_device_type;

/* An empty handle. */
mlx_device mlx_device_new(void);
/* The index-th device of a kind, counted from 0. It need not be available. */
mlx_device mlx_device_new_type(mlx_device_type type, int index);
int mlx_device_free(mlx_device dev);
/* Makes *dev a copy of src. */
int mlx_device_set(mlx_device *dev, const mlx_device src);
/* Text such as "Device(cpu, 0)". */
int mlx_device_tostring(mlx_string *str, mlx_device dev);
bool mlx_device_equal(mlx_device lhs, mlx_device rhs);
int mlx_device_get_index(int *index, mlx_device dev);
int mlx_device_get_type(mlx_device_type *type, mlx_device dev);

/* The device used by operations that are given no stream, and by new default streams. */
int mlx_get_default_device(mlx_device *dev);
/* A device that is not available is an error. */
int mlx_set_default_device(mlx_device dev);

/* Which devices there are. */
int mlx_device_is_available(bool *avail, mlx_device dev);
/* How many of a kind. */
int mlx_device_count(int *count, mlx_device_type type);

/* Facts about a device, as entries with a name: strings ("device_name", "architecture") and
 * sizes in bytes or counts ("memory_size", ...). Which there are depends on the device. The
 * getters return 2, without calling the error handler, where there is no such entry. */
typedef struct mlx_device_info_ {
    void *ctx;
} mlx_device_info;

/* An empty handle. */
mlx_device_info mlx_device_info_new(void);
/* Fills *info with the device's entries. */
int mlx_device_info_get(mlx_device_info *info, mlx_device dev);
int mlx_device_info_free(mlx_device_info info);
int mlx_device_info_has_key(bool *exists, mlx_device_info info, const char *key);
/* Whether the entry is a string (else a size). */
int mlx_device_info_is_string(bool *is_string, mlx_device_info info, const char *key);
/* *value belongs to info. */
int mlx_device_info_get_string(const char **value, mlx_device_info info, const char *key);
int mlx_device_info_get_size(size_t *value, mlx_device_info info, const char *key);
/* The names of all entries. */
int mlx_device_info_get_keys(mlx_vector_string *keys, mlx_device_info info);

#ifdef __cplusplus
}
#endif

#endif
