/*
 * map.h: maps from strings to arrays and from strings to strings.
 *
 * Keys and string values are copied in, arrays are counted. `get` returns 2, without calling the
 * error handler, when there is no such key. An iterator's `next` returns 2 after the last entry;
 * the map must outlive its iterators and must not change under them.
 */
#ifndef MLX_C_MAP_H
#define MLX_C_MAP_H

#include "mlx/c/array.h"
#include "mlx/c/string.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Strings to arrays. */
typedef struct mlx_map_string_to_array_ {
    void *ctx;
} mlx_map_string_to_array;

/* A map without entries. */
mlx_map_string_to_array mlx_map_string_to_array_new(void);
/* Makes *map a copy of src. */
int mlx_map_string_to_array_set(mlx_map_string_to_array *map, const mlx_map_string_to_array src);
int mlx_map_string_to_array_free(mlx_map_string_to_array map);
/* Adds an entry, or replaces that of the same key. */
int mlx_map_string_to_array_insert(mlx_map_string_to_array map, const char *key,
                                   const mlx_array value);
/* *value becomes a reference of the caller's own. */
int mlx_map_string_to_array_get(mlx_array *value, const mlx_map_string_to_array map,
                                const char *key);

/* A place among the entries; ctx is the place, map_ctx the map. */
typedef struct mlx_map_string_to_array_iterator_ {
    void *ctx;
    void *map_ctx;
} mlx_map_string_to_array_iterator;

/* Stands before the first entry. */
mlx_map_string_to_array_iterator mlx_map_string_to_array_iterator_new(mlx_map_string_to_array map);
int mlx_map_string_to_array_iterator_free(mlx_map_string_to_array_iterator it);
/* Gives the next entry. The key belongs to the map; *value is a reference of the caller's. */
int mlx_map_string_to_array_iterator_next(const char **key, mlx_array *value,
                                          mlx_map_string_to_array_iterator it);

/* Strings to strings. */
typedef struct mlx_map_string_to_string_ {
    void *ctx;
} mlx_map_string_to_string;

/* A map without entries. */
mlx_map_string_to_string mlx_map_string_to_string_new(void);
/* Makes *map a copy of src. */
int mlx_map_string_to_string_set(mlx_map_string_to_string *map, const mlx_map_string_to_string src);
int mlx_map_string_to_string_free(mlx_map_string_to_string map);
/* Adds an entry, or replaces that of the same key. */
int mlx_map_string_to_string_insert(mlx_map_string_to_string map, const char *key,
                                    const char *value);
/* *value belongs to the map. */
int mlx_map_string_to_string_get(const char **value, const mlx_map_string_to_string map,
                                 const char *key);

/* A place among the entries. */
typedef struct mlx_map_string_to_string_iterator_ {
    void *ctx;
    void *map_ctx;
} mlx_map_string_to_string_iterator;

/* Stands before the first entry. */
mlx_map_string_to_string_iterator
mlx_map_string_to_string_iterator_new(mlx_map_string_to_string map);
int mlx_map_string_to_string_iterator_free(mlx_map_string_to_string_iterator it);
/* Gives the next entry; key and value belong to the map. */
int mlx_map_string_to_string_iterator_next(const char **key, const char **value,
                                           mlx_map_string_to_string_iterator it);

#ifdef __cplusplus
}
#endif

#endif
