#include "engine/io/safetensors.h"

#include "base/error.h"

/* Array type of each file type; -1: none. */
static const signed char dtypes[NX_SAFETENSORS_N_DTYPES] = {
    [NX_SAFETENSORS_BOOL] = NX_BOOL,     [NX_SAFETENSORS_U8] = NX_UINT8,
    [NX_SAFETENSORS_I8] = NX_INT8,       [NX_SAFETENSORS_U16] = NX_UINT16,
    [NX_SAFETENSORS_I16] = NX_INT16,     [NX_SAFETENSORS_U32] = NX_UINT32,
    [NX_SAFETENSORS_I32] = NX_INT32,     [NX_SAFETENSORS_U64] = NX_UINT64,
    [NX_SAFETENSORS_I64] = NX_INT64,     [NX_SAFETENSORS_F16] = NX_FLOAT16,
    [NX_SAFETENSORS_BF16] = NX_BFLOAT16, [NX_SAFETENSORS_F32] = NX_FLOAT32,
    [NX_SAFETENSORS_F64] = NX_FLOAT64,   [NX_SAFETENSORS_C64] = NX_COMPLEX64,
    [NX_SAFETENSORS_F8_E4M3] = NX_UINT8, [NX_SAFETENSORS_F8_E5M2] = NX_UINT8,
    [NX_SAFETENSORS_F8_E8M0] = NX_UINT8, [NX_SAFETENSORS_F6_E2M3] = -1,
    [NX_SAFETENSORS_F6_E3M2] = -1,       [NX_SAFETENSORS_F4] = -1,
};

bool nx_safetensors_to_dtype(const nx_safetensors_tensor *t, nx_dtype *dtype)
{
    if (dtypes[t->dtype] < 0)
        return nx_fail("[safetensors] tensor \"%s\" is of type %s, which arrays do not have",
                       t->name, nx_safetensors_dtype_name(t->dtype));
    *dtype = (nx_dtype)dtypes[t->dtype];
    return true;
}

/* The first of a type in the list above is its own, the 8-bit floats come after uint8. */
nx_safetensors_dtype nx_safetensors_from_dtype(nx_dtype dtype)
{
    for (int i = 0; i < NX_SAFETENSORS_N_DTYPES; i++)
        if (dtypes[i] == (int)dtype)
            return (nx_safetensors_dtype)i;
    NX_BUG_IF(true);
    return NX_SAFETENSORS_U8;
}

/* Shape and type as arrays have them. */
static bool spec(const nx_safetensors_tensor *t, int *shape, nx_dtype *dtype)
{
    if (t->ndim > NX_MAX_NDIM)
        return nx_fail("[safetensors] tensor \"%s\" has %d dimensions, the limit is %d", t->name,
                       t->ndim, NX_MAX_NDIM);
    for (int i = 0; i < t->ndim; i++) {
        if (t->shape[i] > INT32_MAX)
            return nx_fail("[safetensors] tensor \"%s\" has a dimension of %llu, the limit is %d",
                           t->name, (unsigned long long)t->shape[i], INT32_MAX);
        shape[i] = (int)t->shape[i];
    }
    return nx_safetensors_to_dtype(t, dtype);
}

nx_array *nx_safetensors_array_new(const nx_safetensors_tensor *t)
{
    int shape[NX_MAX_NDIM];
    nx_dtype dtype;
    return spec(t, shape, &dtype) ? nx_array_new(shape, t->ndim, dtype) : NULL;
}

nx_array *nx_safetensors_array(const nx_safetensors *file, const nx_safetensors_tensor *t)
{
    int shape[NX_MAX_NDIM];
    nx_dtype dtype;
    if (!spec(t, shape, &dtype))
        return NULL;
    if (!t->elements || (uintptr_t)t->data % nx_dtype_size(dtype))
        return nx_array_from_data(t->data, shape, t->ndim, dtype);
    return nx_array_wrap((void *)t->data, shape, t->ndim, dtype, nx_mapping_drop,
                         nx_mapping_ref(file->file));
}
