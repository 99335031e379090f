/*
 * distributed_group.h: groups of processes that exchange arrays.
 *
 * An empty group handle stands for the group of all processes.
 */
#ifndef MLX_C_DISTRIBUTED_GROUP_H
#define MLX_C_DISTRIBUTED_GROUP_H

#include <stdbool.h>

#include "mlx/c/stream.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct mlx_distributed_group_ {
    void *ctx;
} mlx_distributed_group;

/* An empty handle. */
mlx_distributed_group mlx_distributed_group_new(void);
int mlx_distributed_group_free(mlx_distributed_group group);
/* The group of all processes, over the backend bk ("mpi", "nccl", ...; NULL: any). Without one
 * it is a group of this process alone, or with strict an error. */
int mlx_distributed_init(mlx_distributed_group *res, bool strict, const char *bk);
/* This process's number in the group, from 0. */
int mlx_distributed_group_rank(mlx_distributed_group group);
int mlx_distributed_group_size(mlx_distributed_group group);
/* The part of the group that gave the same color; ranks there follow key. */
int mlx_distributed_group_split(mlx_distributed_group *res, mlx_distributed_group group, int color,
                                int key);
/* Whether the backend bk (NULL: any) can be used. */
bool mlx_distributed_is_available(const char *bk);

#ifdef __cplusplus
}
#endif

#endif
