/*
 * objects.h: what is behind the handles that are no arrays: strings, vectors, maps, streams of
 * bytes. (What is behind closures: closure.h of this folder.)
 */
#ifndef NX_CAPI_OBJECTS_H
#define NX_CAPI_OBJECTS_H

#include "base/map.h"
#include "base/str.h"
#include "engine/capi/capi.h"

/* mlx_string: an nx_str on the heap. */
void nx_string_set(mlx_string *res, const char *text);
void nx_string_give(mlx_string *res, nx_str *take); /* takes the bytes, leaves *take empty */

/* mlx_vector_array is an nx_array_vec (capi.h). */
typedef NX_VEC(nx_array_vec) nx_array_vec_vec; /* mlx_vector_vector_array */
typedef NX_VEC(int) nx_int_vec;                /* mlx_vector_int */
typedef NX_VEC(char *) nx_string_vec;          /* mlx_vector_string */

/* Makes *res hold n arrays, with references of their own. */
void nx_vector_set(mlx_vector_array *res, nx_array *const *a, size_t n);

/* mlx_map_string_to_array and mlx_map_string_to_string are nx_maps: values are nx_array * and
 * char *. A map is made where *map is empty. Takes a reference of its own, a copy. */
void nx_map_put_array(nx_map *map, const char *key, nx_array *value);
void nx_map_put_string(nx_map *map, const char *key, const char *value);
void nx_map_drop_arrays(nx_map *map); /* empties the map */
void nx_map_drop_strings(nx_map *map);

/* mlx_io_reader and mlx_io_writer: counted, since an array loaded lazily keeps its reader. */
typedef struct {
    _Atomic int refs;
    void *desc;
    mlx_io_vtable vtable;
} nx_io;
nx_io *nx_io_ref(nx_io *io);
void nx_io_unref(nx_io **io);

/* mlx_io_gguf: named arrays, and metadata of three kinds by name. */
typedef struct {
    enum { NX_NOTE_ARRAY, NX_NOTE_STRING, NX_NOTE_STRINGS } kind;
    nx_array *array;
    char *string;
    nx_string_vec strings;
} nx_note;
typedef struct {
    nx_map arrays;   /* nx_array * */
    nx_map metadata; /* nx_note * */
} nx_gguf_object;
void nx_gguf_object_clear(nx_gguf_object *g);
/* The value of a key, new or with its old content freed, to be filled. */
nx_note *nx_note_set(nx_gguf_object *g, const char *key, int kind);

#endif
