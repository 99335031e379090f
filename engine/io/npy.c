#include "engine/io/npy.h"

#include <string.h>

#include "base/error.h"
#include "base/mmap.h"

/* bfloat16 is raw bytes to NumPy; MLX writes it so. */
static const struct {
    char kind;
    unsigned char size;
    unsigned char dtype;
} types[] = {
    {'b', 1, NX_BOOL},     {'u', 1, NX_UINT8},     {'u', 2, NX_UINT16},  {'u', 4, NX_UINT32},
    {'u', 8, NX_UINT64},   {'i', 1, NX_INT8},      {'i', 2, NX_INT16},   {'i', 4, NX_INT32},
    {'i', 8, NX_INT64},    {'f', 2, NX_FLOAT16},   {'f', 4, NX_FLOAT32}, {'f', 8, NX_FLOAT64},
    {'V', 2, NX_BFLOAT16}, {'c', 8, NX_COMPLEX64},
};
enum { N_TYPES = sizeof types / sizeof *types };

static bool dtype_of(const nx_npy *npy, const char *name, nx_dtype *dtype)
{
    for (int i = 0; i < N_TYPES; i++) {
        if (types[i].kind == npy->kind && types[i].size == npy->size) {
            *dtype = (nx_dtype)types[i].dtype;
            return true;
        }
    }
    return nx_fail("[load] %s holds elements of type %c%u, which arrays do not have", name,
                   npy->kind, npy->size);
}

void nx_npy_of(const nx_array *a, nx_npy *npy)
{
    *npy = (nx_npy){.ndim = a->ndim};
    for (int i = 0; i < N_TYPES; i++) {
        if (types[i].dtype == a->dtype) {
            npy->kind = types[i].kind;
            npy->size = types[i].size;
        }
    }
    for (int i = 0; i < a->ndim; i++)
        npy->shape[i] = (uint64_t)a->shape[i];
}

/* Lays a new array out column-major. */
static void columns_first(nx_array *a)
{
    int64_t strides[NX_MAX_NDIM], step = 1;
    for (int i = 0; i < a->ndim; i++) {
        strides[i] = step;
        step *= a->shape[i];
    }
    nx_array_set_buffer(a, a->buffer, a->data, strides);
}

nx_array *nx_npy_array_new(const nx_npy *npy, const char *name)
{
    int shape[NX_MAX_NDIM];
    nx_dtype dtype = NX_BOOL;
    if (npy->ndim > NX_MAX_NDIM)
        return nx_fail_null("[load] %s has %d dimensions, the limit is %d", name, npy->ndim,
                            NX_MAX_NDIM);
    for (int i = 0; i < npy->ndim; i++) {
        uint64_t n = npy->shape[i];
        if (n > INT32_MAX)
            return nx_fail_null("[load] %s has a dimension of %llu, the limit is %d", name,
                                (unsigned long long)n, INT32_MAX);
        shape[i] = (int)n;
    }
    nx_array *a = dtype_of(npy, name, &dtype) ? nx_array_new(shape, npy->ndim, dtype) : NULL;
    if (a && npy->fortran)
        columns_first(a);
    return a;
}

/* Turns the bytes of each number around. */
static void swap_bytes(char *data, size_t n, size_t size)
{
    for (size_t i = 0; i < n; i++, data += size) {
        for (size_t k = 0; k < size / 2; k++) {
            char c = data[k];
            data[k] = data[size - 1 - k];
            data[size - 1 - k] = c;
        }
    }
}

void nx_npy_finish(const nx_npy *npy, nx_array *a)
{
    size_t parts = npy->kind == 'c' ? 2 : 1; /* a complex number is two */
    if (npy->swapped)
        swap_bytes(a->data, (size_t)a->size * parts, npy->size / parts);
}

nx_array *nx_npy_load(const char *path)
{
    nx_npy npy;
    nx_array *a = NULL;
    nx_mapping *file = nx_mapping_open(path);
    if (!file)
        return NULL;
    const unsigned char *bytes = nx_mapping_data(file);
    size_t size = nx_mapping_size(file);
    if (nx_npy_parse(&npy, bytes, size, size, path) && (a = nx_npy_array_new(&npy, path))) {
        memcpy(a->data, bytes + npy.data_offset, (size_t)nx_array_nbytes(a));
        nx_npy_finish(&npy, a);
    }
    nx_mapping_unref(&file);
    return a;
}
