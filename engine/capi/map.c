/* map.h: maps from strings to arrays and to strings, over base/map.h. */
#include <string.h>

#include "engine/capi/objects.h"

static void *value_of(const nx_map_entry *e)
{
    return (void *)(uintptr_t)e->value;
}

static nx_map_entry *find(const nx_map *map, const char *key)
{
    return nx_map_find(map, key, strlen(key));
}

/* Entries: values that both kinds of map share the handling of, but for these two. */
static void array_drop(void *value)
{
    nx_array *a = value;
    nx_array_unref(&a);
}

static void put(nx_map *map, const char *key, void *value, void (*drop)(void *))
{
    nx_map_entry *old = find(map, key);
    if (old)
        drop(value_of(old));
    nx_map_set(map, key, strlen(key), (uint64_t)(uintptr_t)value);
}

static void destroy(nx_map *map, void (*drop)(void *))
{
    if (!map)
        return;
    for (size_t i = 0; i < map->n; i++)
        drop(value_of(&map->entries[i]));
    nx_map_clear(map);
}

/* The next entry of an iterator, NULL at the end. */
static nx_map_entry *next(size_t *place, const nx_map *map)
{
    return *place < map->n ? &map->entries[(*place)++] : NULL;
}

void nx_map_drop_arrays(nx_map *map)
{
    destroy(map, array_drop);
}

void nx_map_drop_strings(nx_map *map)
{
    destroy(map, free);
}

void nx_map_put_array(nx_map *map, const char *key, nx_array *value)
{
    put(map, key, nx_array_ref(value), array_drop);
}

void nx_map_put_string(nx_map *map, const char *key, const char *value)
{
    put(map, key, nx_strdup(value), free);
}

mlx_map_string_to_array mlx_map_string_to_array_new(void)
{
    return (mlx_map_string_to_array){nx_calloc(1, sizeof(nx_map))};
}

int mlx_map_string_to_array_set(mlx_map_string_to_array *map, const mlx_map_string_to_array src)
{
    const nx_map *from = NX_OBJECT(nx_map, src);
    NX_POINTER(map);
    if (map->ctx == from)
        return 0;
    nx_map copy = {0};
    for (size_t i = 0; i < from->n; i++)
        nx_map_put_array(&copy, from->entries[i].key, value_of(&from->entries[i]));
    if (!map->ctx)
        *map = mlx_map_string_to_array_new();
    destroy(map->ctx, array_drop);
    *(nx_map *)map->ctx = copy;
    return 0;
}

int mlx_map_string_to_array_free(mlx_map_string_to_array map)
{
    destroy(map.ctx, array_drop);
    free(map.ctx);
    return 0;
}

int mlx_map_string_to_array_insert(mlx_map_string_to_array map, const char *key,
                                   const mlx_array value)
{
    nx_map_put_array(NX_OBJECT(nx_map, map), NX_POINTER(key), NX_ARRAY(value));
    return 0;
}

int mlx_map_string_to_array_get(mlx_array *value, const mlx_map_string_to_array map,
                                const char *key)
{
    nx_map_entry *e = find(NX_OBJECT(nx_map, map), NX_POINTER(key));
    if (!e)
        return 2;
    nx_handle_set_take(NX_POINTER(value), nx_array_ref(value_of(e)));
    return 0;
}

mlx_map_string_to_array_iterator mlx_map_string_to_array_iterator_new(mlx_map_string_to_array map)
{
    mlx_map_string_to_array_iterator it = {NULL, NULL};
    it.map_ctx = NX_OBJECT_OR(nx_map, map, it);
    it.ctx = nx_calloc(1, sizeof(size_t));
    return it;
}

int mlx_map_string_to_array_iterator_free(mlx_map_string_to_array_iterator it)
{
    free(it.ctx);
    return 0;
}

int mlx_map_string_to_array_iterator_next(const char **key, mlx_array *value,
                                          mlx_map_string_to_array_iterator it)
{
    nx_map_entry *e = next(NX_OBJECT(size_t, it), it.map_ctx);
    if (!e)
        return 2;
    *NX_POINTER(key) = e->key;
    nx_handle_set_take(NX_POINTER(value), nx_array_ref(value_of(e)));
    return 0;
}

mlx_map_string_to_string mlx_map_string_to_string_new(void)
{
    return (mlx_map_string_to_string){nx_calloc(1, sizeof(nx_map))};
}

int mlx_map_string_to_string_set(mlx_map_string_to_string *map, const mlx_map_string_to_string src)
{
    const nx_map *from = NX_OBJECT(nx_map, src);
    NX_POINTER(map);
    if (map->ctx == from)
        return 0;
    nx_map copy = {0};
    for (size_t i = 0; i < from->n; i++)
        nx_map_put_string(&copy, from->entries[i].key, value_of(&from->entries[i]));
    if (!map->ctx)
        *map = mlx_map_string_to_string_new();
    destroy(map->ctx, free);
    *(nx_map *)map->ctx = copy;
    return 0;
}

int mlx_map_string_to_string_free(mlx_map_string_to_string map)
{
    destroy(map.ctx, free);
    free(map.ctx);
    return 0;
}

int mlx_map_string_to_string_insert(mlx_map_string_to_string map, const char *key,
                                    const char *value)
{
    nx_map_put_string(NX_OBJECT(nx_map, map), NX_POINTER(key), NX_POINTER(value));
    return 0;
}

int mlx_map_string_to_string_get(const char **value, const mlx_map_string_to_string map,
                                 const char *key)
{
    nx_map_entry *e = find(NX_OBJECT(nx_map, map), NX_POINTER(key));
    if (!e)
        return 2;
    *NX_POINTER(value) = value_of(e);
    return 0;
}

mlx_map_string_to_string_iterator
mlx_map_string_to_string_iterator_new(mlx_map_string_to_string map)
{
    mlx_map_string_to_string_iterator it = {NULL, NULL};
    it.map_ctx = NX_OBJECT_OR(nx_map, map, it);
    it.ctx = nx_calloc(1, sizeof(size_t));
    return it;
}

int mlx_map_string_to_string_iterator_free(mlx_map_string_to_string_iterator it)
{
    free(it.ctx);
    return 0;
}

int mlx_map_string_to_string_iterator_next(const char **key, const char **value,
                                           mlx_map_string_to_string_iterator it)
{
    nx_map_entry *e = next(NX_OBJECT(size_t, it), it.map_ctx);
    if (!e)
        return 2;
    *NX_POINTER(key) = e->key;
    *NX_POINTER(value) = value_of(e);
    return 0;
}
