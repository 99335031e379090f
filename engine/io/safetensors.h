/*
 * safetensors.h: arrays from and to safetensors files (the format itself: base/safetensors.h).
 */
#ifndef NX_IO_SAFETENSORS_H
#define NX_IO_SAFETENSORS_H

#include "base/safetensors.h"
#include "engine/core/array.h"

/* The element types of file and array; 8-bit floats are uint8 arrays, as MLX has it. False after
 * nx_fail for types that have no array type (packed 4- and 6-bit floats). */
bool nx_safetensors_to_dtype(const nx_safetensors_tensor *t, nx_dtype *dtype);
nx_safetensors_dtype nx_safetensors_from_dtype(nx_dtype dtype);

/* A tensor as an array over the mapped file, which stays mapped as long as the array needs it
 * (a copy only where the file does not align the elements). */
nx_array *nx_safetensors_array(const nx_safetensors *file, const nx_safetensors_tensor *t);
/* An array of the tensor's shape and type whose elements the caller reads from elsewhere. */
nx_array *nx_safetensors_array_new(const nx_safetensors_tensor *t);

#endif
