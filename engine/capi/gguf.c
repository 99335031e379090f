/* io_types.h: the contents of a GGUF file. */
#include <string.h>

#include "engine/capi/objects.h"

static nx_map_entry *find(const nx_map *map, const char *key)
{
    return nx_map_find(map, key, strlen(key));
}

static void value_clear(nx_note *v)
{
    nx_array_unref(&v->array);
    free(v->string);
    for (size_t i = 0; i < v->strings.n; i++)
        free(v->strings.at[i]);
    nx_vec_clear(&v->strings);
    *v = (nx_note){0};
}

nx_note *nx_note_set(nx_gguf_object *g, const char *key, int kind)
{
    nx_map_entry *e = find(&g->metadata, key);
    nx_note *v = e ? (nx_note *)(uintptr_t)e->value : nx_calloc(1, sizeof *v);
    if (!e)
        nx_map_set(&g->metadata, key, strlen(key), (uint64_t)(uintptr_t)v);
    value_clear(v);
    v->kind = kind;
    return v;
}

/* The value of a key, NULL where there is none of this kind. */
static nx_note *value_get(const nx_gguf_object *g, const char *key, int kind)
{
    nx_map_entry *e = find(&g->metadata, key);
    nx_note *v = e ? (nx_note *)(uintptr_t)e->value : NULL;
    return v && (int)v->kind == kind ? v : NULL;
}

void nx_gguf_object_clear(nx_gguf_object *g)
{
    for (size_t i = 0; i < g->metadata.n; i++) {
        nx_note *v = (nx_note *)(uintptr_t)g->metadata.entries[i].value;
        value_clear(v);
        free(v);
    }
    nx_map_clear(&g->metadata);
    nx_map_drop_arrays(&g->arrays);
}

mlx_io_gguf mlx_io_gguf_new(void)
{
    return (mlx_io_gguf){nx_calloc(1, sizeof(nx_gguf_object))};
}

int mlx_io_gguf_free(mlx_io_gguf io)
{
    if (io.ctx)
        nx_gguf_object_clear(io.ctx);
    free(io.ctx);
    return 0;
}

int mlx_io_gguf_get_keys(mlx_vector_string *keys, mlx_io_gguf io)
{
    const nx_map *arrays = &NX_OBJECT(nx_gguf_object, io)->arrays;
    NX_POINTER(keys);
    mlx_vector_string names = mlx_vector_string_new();
    for (size_t i = 0; i < arrays->n; i++)
        mlx_vector_string_append_value(names, arrays->entries[i].key);
    mlx_vector_string_set(keys, names);
    return mlx_vector_string_free(names);
}

int mlx_io_gguf_get_array(mlx_array *arr, mlx_io_gguf io, const char *key)
{
    nx_map_entry *e = find(&NX_OBJECT(nx_gguf_object, io)->arrays, NX_POINTER(key));
    return e ? nx_give(arr, (nx_array *)(uintptr_t)e->value, __func__) : 2;
}

int mlx_io_gguf_get_metadata_array(mlx_array *arr, mlx_io_gguf io, const char *key)
{
    nx_note *v = value_get(NX_OBJECT(nx_gguf_object, io), NX_POINTER(key), NX_NOTE_ARRAY);
    return v ? nx_give(arr, v->array, __func__) : 2;
}

int mlx_io_gguf_get_metadata_string(mlx_string *str, mlx_io_gguf io, const char *key)
{
    nx_note *v = value_get(NX_OBJECT(nx_gguf_object, io), NX_POINTER(key), NX_NOTE_STRING);
    if (!v)
        return 2;
    nx_string_set(NX_POINTER(str), v->string);
    return 0;
}

int mlx_io_gguf_get_metadata_vector_string(mlx_vector_string *vstr, mlx_io_gguf io, const char *key)
{
    nx_note *v = value_get(NX_OBJECT(nx_gguf_object, io), NX_POINTER(key), NX_NOTE_STRINGS);
    if (!v)
        return 2;
    return mlx_vector_string_set_data(vstr, (const char **)v->strings.at, v->strings.n);
}

static int has(bool *flag, mlx_io_gguf io, const char *key, int kind)
{
    *NX_POINTER(flag) = value_get(NX_OBJECT(nx_gguf_object, io), NX_POINTER(key), kind) != NULL;
    return 0;
}

int mlx_io_gguf_has_metadata_array(bool *flag, mlx_io_gguf io, const char *key)
{
    return has(flag, io, key, NX_NOTE_ARRAY);
}

int mlx_io_gguf_has_metadata_string(bool *flag, mlx_io_gguf io, const char *key)
{
    return has(flag, io, key, NX_NOTE_STRING);
}

int mlx_io_gguf_has_metadata_vector_string(bool *flag, mlx_io_gguf io, const char *key)
{
    return has(flag, io, key, NX_NOTE_STRINGS);
}

int mlx_io_gguf_set_array(mlx_io_gguf io, const char *key, const mlx_array arr)
{
    nx_map_put_array(&NX_OBJECT(nx_gguf_object, io)->arrays, NX_POINTER(key), NX_ARRAY(arr));
    return 0;
}

int mlx_io_gguf_set_metadata_array(mlx_io_gguf io, const char *key, const mlx_array marr)
{
    nx_gguf_object *g = NX_OBJECT(nx_gguf_object, io);
    NX_POINTER(key);
    nx_array *a = nx_array_ref(NX_ARRAY(marr)); /* it may be the old value */
    nx_note_set(g, key, NX_NOTE_ARRAY)->array = a;
    return 0;
}

int mlx_io_gguf_set_metadata_string(mlx_io_gguf io, const char *key, const char *mstr)
{
    nx_gguf_object *g = NX_OBJECT(nx_gguf_object, io);
    NX_POINTER(key);
    char *copy = nx_strdup(NX_POINTER(mstr));
    nx_note_set(g, key, NX_NOTE_STRING)->string = copy;
    return 0;
}

int mlx_io_gguf_set_metadata_vector_string(mlx_io_gguf io, const char *key,
                                           const mlx_vector_string mvstr)
{
    nx_gguf_object *g = NX_OBJECT(nx_gguf_object, io);
    const nx_string_vec *from = NX_OBJECT(nx_string_vec, mvstr);
    nx_note *v = nx_note_set(g, NX_POINTER(key), NX_NOTE_STRINGS);
    for (size_t i = 0; i < from->n; i++)
        nx_vec_push(&v->strings, nx_strdup(from->at[i]));
    return 0;
}
