/*
 * version.h: the version of MLX whose behaviour the library has, such as "0.31.2".
 */
#ifndef MLX_C_VERSION_H
#define MLX_C_VERSION_H

#include "mlx/c/string.h"

#ifdef __cplusplus
extern "C" {
#endif

/* *str_ becomes the version. */
int mlx_version(mlx_string *str_);

#ifdef __cplusplus
}
#endif

#endif
