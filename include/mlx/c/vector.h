/*
 * vector.h: lists of arrays, of lists of arrays, of ints and of strings.
 *
 * A vector owns its elements: an array put in is another reference to it, a string a copy.
 * `get` gives the caller a reference of its own, except for strings, which belong to the vector.
 * An index outside the vector is an error.
 */
#ifndef MLX_C_VECTOR_H
#define MLX_C_VECTOR_H

#include "mlx/c/array.h"
#include "mlx/c/string.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Lists of arrays. */
typedef struct mlx_vector_array_ {
    void *ctx;
} mlx_vector_array;

/* A vector without elements. */
mlx_vector_array mlx_vector_array_new(void);
/* Makes *vec a copy of src. */
int mlx_vector_array_set(mlx_vector_array *vec, const mlx_vector_array src);
/* Frees the vector and its references; an empty handle is allowed. */
int mlx_vector_array_free(mlx_vector_array vec);
/* size elements. */
mlx_vector_array mlx_vector_array_new_data(const mlx_array *data, size_t size);
/* One element. */
mlx_vector_array mlx_vector_array_new_value(const mlx_array val);
/* Replaces the elements. */
int mlx_vector_array_set_data(mlx_vector_array *vec, const mlx_array *data, size_t size);
/* Replaces them by one. */
int mlx_vector_array_set_value(mlx_vector_array *vec, const mlx_array val);
/* Adds size elements at the end. */
int mlx_vector_array_append_data(mlx_vector_array vec, const mlx_array *data, size_t size);
int mlx_vector_array_append_value(mlx_vector_array vec, const mlx_array val);
size_t mlx_vector_array_size(mlx_vector_array vec);
int mlx_vector_array_get(mlx_array *res, const mlx_vector_array vec, size_t idx);

/* Lists of lists of arrays. `get` copies the inner list. */
typedef struct mlx_vector_vector_array_ {
    void *ctx;
} mlx_vector_vector_array;

mlx_vector_vector_array mlx_vector_vector_array_new(void);
int mlx_vector_vector_array_set(mlx_vector_vector_array *vec, const mlx_vector_vector_array src);
int mlx_vector_vector_array_free(mlx_vector_vector_array vec);
mlx_vector_vector_array mlx_vector_vector_array_new_data(const mlx_vector_array *data, size_t size);
mlx_vector_vector_array mlx_vector_vector_array_new_value(const mlx_vector_array val);
int mlx_vector_vector_array_set_data(mlx_vector_vector_array *vec, const mlx_vector_array *data,
                                     size_t size);
int mlx_vector_vector_array_set_value(mlx_vector_vector_array *vec, const mlx_vector_array val);
int mlx_vector_vector_array_append_data(mlx_vector_vector_array vec, const mlx_vector_array *data,
                                        size_t size);
int mlx_vector_vector_array_append_value(mlx_vector_vector_array vec, const mlx_vector_array val);
size_t mlx_vector_vector_array_size(mlx_vector_vector_array vec);
int mlx_vector_vector_array_get(mlx_vector_array *res, const mlx_vector_vector_array vec,
                                size_t idx);

/* Lists of ints. The data is copied. */
typedef struct mlx_vector_int_ {
    void *ctx;
} mlx_vector_int;

mlx_vector_int mlx_vector_int_new(void);
int mlx_vector_int_set(mlx_vector_int *vec, const mlx_vector_int src);
int mlx_vector_int_free(mlx_vector_int vec);
mlx_vector_int mlx_vector_int_new_data(int *data, size_t size);
mlx_vector_int mlx_vector_int_new_value(int val);
int mlx_vector_int_set_data(mlx_vector_int *vec, int *data, size_t size);
int mlx_vector_int_set_value(mlx_vector_int *vec, int val);
int mlx_vector_int_append_data(mlx_vector_int vec, int *data, size_t size);
int mlx_vector_int_append_value(mlx_vector_int vec, int val);
size_t mlx_vector_int_size(mlx_vector_int vec);
int mlx_vector_int_get(int *res, const mlx_vector_int vec, size_t idx);

/* Lists of strings. Each is copied in; what `get` returns belongs to the vector. */
typedef struct mlx_vector_string_ {
    void *ctx;
} mlx_vector_string;

mlx_vector_string mlx_vector_string_new(void);
int mlx_vector_string_set(mlx_vector_string *vec, const mlx_vector_string src);
int mlx_vector_string_free(mlx_vector_string vec);
mlx_vector_string mlx_vector_string_new_data(const char **data, size_t size);
mlx_vector_string mlx_vector_string_new_value(const char *val);
int mlx_vector_string_set_data(mlx_vector_string *vec, const char **data, size_t size);
int mlx_vector_string_set_value(mlx_vector_string *vec, const char *val);
int mlx_vector_string_append_data(mlx_vector_string vec, const char **data, size_t size);
int mlx_vector_string_append_value(mlx_vector_string vec, const char *val);
size_t mlx_vector_string_size(mlx_vector_string vec);
int mlx_vector_string_get(char **res, const mlx_vector_string vec, size_t idx);

#ifdef __cplusplus
}
#endif

#endif
