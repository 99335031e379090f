/*
 * string.h: strings that belong to the library.
 *
 * An object is a handle; a handle whose ctx is NULL is empty. Whoever gets a handle from a function
 * frees it. Strings end with a NUL and hold none inside.
 */
#ifndef MLX_C_STRING_H
#define MLX_C_STRING_H

#ifdef __cplusplus
extern "C" {
#endif

/* A string that a function of the library fills in. */
typedef struct mlx_string_ {
    void *ctx;
} mlx_string;

/* An empty handle. */
mlx_string mlx_string_new(void);
/* A copy of str. */
mlx_string mlx_string_new_data(const char *str);
/* Makes *str a copy of src; what it held before is freed. */
int mlx_string_set(mlx_string *str, const mlx_string src);
/* The bytes, NUL at the end. They belong to the string. An empty handle is an error: NULL. */
const char *mlx_string_data(mlx_string str);
/* Frees it; an empty handle is allowed. */
int mlx_string_free(mlx_string str);

#ifdef __cplusplus
}
#endif

#endif
