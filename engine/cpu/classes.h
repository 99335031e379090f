/*
 * classes.h: the seven types that the fourteen element types are computed in, and loops between
 * the two. Integers under 32 bits and bool go through int32, halves through float.
 */
#ifndef NX_CPU_CLASSES_H
#define NX_CPU_CLASSES_H

#include "engine/cpu/floats.h"
#include "engine/cpu/types.h"

enum {
    NX_CLASS_I32,
    NX_CLASS_U32,
    NX_CLASS_I64,
    NX_CLASS_U64,
    NX_CLASS_F32,
    NX_CLASS_F64,
    NX_CLASS_C64,
    NX_CLASSES
};
enum { NX_CLASS_MAX_SIZE = 8 }; /* bytes */

/* X(name of class without NX_CLASS_, C type, short name) */
#define NX_CLASS_LIST(X)    \
    X(I32, int32_t, i32)    \
    X(U32, uint32_t, u32)   \
    X(I64, int64_t, i64)    \
    X(U64, uint64_t, u64)   \
    X(F32, float, f32)      \
    X(F64, double, f64)     \
    X(C64, nx_c64, c64)

static inline int nx_class_of(nx_dtype t)
{
    static const uint8_t classes[NX_DTYPE_COUNT] = {
        NX_CLASS_I32, NX_CLASS_I32, NX_CLASS_I32, NX_CLASS_U32, NX_CLASS_U64,
        NX_CLASS_I32, NX_CLASS_I32, NX_CLASS_I32, NX_CLASS_I64, NX_CLASS_F32,
        NX_CLASS_F32, NX_CLASS_F64, NX_CLASS_F32, NX_CLASS_C64,
    };
    return classes[t];
}
static inline size_t nx_class_size(int class)
{
    static const uint8_t sizes[NX_CLASSES] = {4, 4, 8, 8, 4, 8, 8};
    return sizes[class];
}

/* ---- elements, `step` apart, to a dense run of the class ---------------------------------------- */

typedef void (*nx_load)(int64_t n, const void *from, int64_t step, void *to);

#define NX_LOAD(name, T, A, VALUE)                                                                \
    static inline void nx_load_##name(int64_t n, const void *from, int64_t step, void *to)        \
    {                                                                                             \
        const T *restrict x = from;                                                               \
        A *restrict y = to;                                                                       \
        if (step == 1)                                                                            \
            for (int64_t i = 0; i < n; i++)                                                       \
                y[i] = VALUE(x[i]);                                                               \
        else                                                                                      \
            for (int64_t i = 0; i < n; i++)                                                       \
                y[i] = VALUE(x[i * step]);                                                        \
    }
#define NX_PLAIN(x) (x)
NX_LOAD(u8, uint8_t, int32_t, NX_PLAIN)
NX_LOAD(i8, int8_t, int32_t, NX_PLAIN)
NX_LOAD(u16, uint16_t, int32_t, NX_PLAIN)
NX_LOAD(i16, int16_t, int32_t, NX_PLAIN)
NX_LOAD(u32, uint32_t, uint32_t, NX_PLAIN)
NX_LOAD(u64, uint64_t, uint64_t, NX_PLAIN)
NX_LOAD(f32, float, float, NX_PLAIN)
NX_LOAD(f64, double, double, NX_PLAIN)
NX_LOAD(c64, nx_c64, nx_c64, NX_PLAIN)

static inline void nx_load_f16(int64_t n, const void *from, int64_t step, void *to)
{
    nx_floats_from_f16(to, from, step, (int)n);
}
static inline void nx_load_bf16(int64_t n, const void *from, int64_t step, void *to)
{
    nx_floats_from_bf16(to, from, step, (int)n);
}

static const nx_load nx_loads[NX_DTYPE_COUNT] = {
    nx_load_u8,  nx_load_u8,  nx_load_u16, nx_load_u32, nx_load_u64,  nx_load_i8,  nx_load_i16,
    nx_load_u32, nx_load_u64, nx_load_f16, nx_load_f32, nx_load_f64, nx_load_bf16, nx_load_c64,
};

/* ---- and back: a dense run of the class to elements `step` apart --------------------------------- */

typedef void (*nx_store)(int64_t n, const void *from, void *to, int64_t step);

#define NX_STORE(name, A, T)                                                                \
    static inline void nx_store_##name(int64_t n, const void *from, void *to, int64_t step) \
    {                                                                                       \
        const A *restrict x = from;                                                         \
        T *restrict y = to;                                                                 \
        if (step == 1)                                                                      \
            for (int64_t i = 0; i < n; i++)                                                 \
                y[i] = (T)x[i];                                                             \
        else                                                                                \
            for (int64_t i = 0; i < n; i++)                                                 \
                y[i * step] = (T)x[i];                                                      \
    }
NX_STORE(b, int32_t, bool)
NX_STORE(8, int32_t, uint8_t)
NX_STORE(16, int32_t, uint16_t)
NX_STORE(32, uint32_t, uint32_t)
NX_STORE(64, uint64_t, uint64_t)

static inline void nx_store_f16(int64_t n, const void *from, void *to, int64_t step)
{
    const float *x = from;
    nx_f16 *y = to;
    if (step == 1)
        nx_tile_to_f16(n, x, y);
    else
        for (int64_t i = 0; i < n; i++)
            y[i * step].bits = nx_half_from_float(x[i]);
}
static inline void nx_store_bf16(int64_t n, const void *from, void *to, int64_t step)
{
    const float *x = from;
    nx_bf16 *y = to;
    for (int64_t i = 0; i < n; i++)
        y[i * step].bits = nx_bf16_from_float(x[i]);
}

static inline nx_store nx_store_for(nx_dtype t)
{
    static const nx_store stores[NX_DTYPE_COUNT] = {
        nx_store_b,  nx_store_8,  nx_store_16,  nx_store_32, nx_store_64, nx_store_8,    nx_store_16,
        nx_store_32, nx_store_64, nx_store_f16, nx_store_32, nx_store_64, nx_store_bf16, nx_store_64,
    };
    return stores[t];
}

#endif
