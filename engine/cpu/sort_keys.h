/*
 * sort_keys.h: elements as unsigned keys whose order is the sorting order, and back. Included by
 * sort_tmpl.c alone.
 *
 * Floats: the sign decides whether all bits or the sign alone are flipped; any NaN is the largest
 * key. Complex numbers: real part above imaginary part. Types under 8 bytes have 32-bit keys. For
 * places (`equal_zeros`), -0 and 0 have one key, so that a stable sort keeps their order.
 */
static inline uint32_t key_of_f32(uint32_t u)
{
    uint32_t flipped = u ^ ((uint32_t)((int32_t)u >> 31) | 0x80000000u);
    return (u & 0x7FFFFFFF) > 0x7F800000 ? UINT32_MAX : flipped;
}
static inline uint32_t f32_of_key(uint32_t k)
{
    return k & 0x80000000u ? k ^ 0x80000000u : ~k;
}
static inline uint64_t key_of_f64(uint64_t u)
{
    uint64_t flipped = u ^ ((uint64_t)((int64_t)u >> 63) | (uint64_t)1 << 63);
    return (u & INT64_MAX) > (uint64_t)0x7FF << 52 ? UINT64_MAX : flipped;
}
static inline uint64_t f64_of_key(uint64_t k)
{
    return k >> 63 ? k ^ (uint64_t)1 << 63 : ~k;
}
/* 16-bit floats have their bits in the upper half of a float's, or the same order of bits. */
static inline uint32_t key_of_half(uint16_t u, uint16_t infinity)
{
    uint16_t flipped = (uint16_t)(u ^ ((uint16_t)((int16_t)u >> 15) | 0x8000));
    return (u & 0x7FFF) > infinity ? 0xFFFF : flipped;
}
static inline uint16_t half_of_key(uint32_t k)
{
    return (uint16_t)(k & 0x8000 ? k ^ 0x8000 : ~k);
}
static inline uint64_t key_of_c64(uint64_t u)
{
    return (uint64_t)key_of_f32((uint32_t)u) << 32 | key_of_f32((uint32_t)(u >> 32));
}
static inline uint64_t c64_of_key(uint64_t k)
{
    return (uint64_t)f32_of_key((uint32_t)k) << 32 | f32_of_key((uint32_t)(k >> 32));
}

#define NO_ZERO(u) (u)
#define ZERO_16(u) ((u) == 0x8000 ? (uint16_t)0 : (u))
#define ZERO_32(u) ((u) == 0x80000000u ? 0u : (u))
#define ZERO_64(u) ((u) == (uint64_t)1 << 63 ? (uint64_t)0 : (u))
#define ZERO_C(u) ((uint64_t)ZERO_32((uint32_t)((u) >> 32)) << 32 | ZERO_32((uint32_t)(u)))

/* n elements from `step` apart to keys, and back. */
typedef void (*encode_fn)(int64_t n, const void *from, int64_t step, bool equal_zeros, void *keys);
typedef void (*decode_fn)(int64_t n, const void *keys, void *to, int64_t step);

#define KEYS(name, T, K, ZERO, KEY, VALUE)                                                        \
    static void encode_##name(int64_t n, const void *from, int64_t step, bool equal_zeros, void *keys) \
    {                                                                                             \
        const T *restrict x = from;                                                               \
        K *restrict k = keys;                                                                     \
        if (equal_zeros)                                                                          \
            for (int64_t i = 0; i < n; i++)                                                       \
                k[i] = KEY(ZERO(x[i * step]));                                                    \
        else                                                                                      \
            for (int64_t i = 0; i < n; i++)                                                       \
                k[i] = KEY(x[i * step]);                                                          \
    }                                                                                             \
    static void decode_##name(int64_t n, const void *keys, void *to, int64_t step)                \
    {                                                                                             \
        const K *restrict k = keys;                                                               \
        T *restrict y = to;                                                                       \
        for (int64_t i = 0; i < n; i++)                                                           \
            y[i * step] = (T)VALUE(k[i]);                                                         \
    }
#define SAME(x) (x)
#define SIGN_8(x) ((uint8_t)((x) ^ 0x80))
#define SIGN_16(x) ((uint16_t)((x) ^ 0x8000))
#define SIGN_32(x) ((x) ^ 0x80000000u)
#define SIGN_64(x) ((x) ^ (uint64_t)1 << 63)
#define KEY_F16(x) key_of_half(x, 0x7C00)
#define KEY_BF16(x) key_of_half(x, 0x7F80)
KEYS(u8, uint8_t, uint32_t, NO_ZERO, SAME, SAME)
KEYS(u16, uint16_t, uint32_t, NO_ZERO, SAME, SAME)
KEYS(u32, uint32_t, uint32_t, NO_ZERO, SAME, SAME)
KEYS(u64, uint64_t, uint64_t, NO_ZERO, SAME, SAME)
KEYS(i8, uint8_t, uint32_t, NO_ZERO, SIGN_8, SIGN_8)
KEYS(i16, uint16_t, uint32_t, NO_ZERO, SIGN_16, SIGN_16)
KEYS(i32, uint32_t, uint32_t, NO_ZERO, SIGN_32, SIGN_32)
KEYS(i64, uint64_t, uint64_t, NO_ZERO, SIGN_64, SIGN_64)
KEYS(f16, uint16_t, uint32_t, ZERO_16, KEY_F16, half_of_key)
KEYS(bf16, uint16_t, uint32_t, ZERO_16, KEY_BF16, half_of_key)
KEYS(f32, uint32_t, uint32_t, ZERO_32, key_of_f32, f32_of_key)
KEYS(f64, uint64_t, uint64_t, ZERO_64, key_of_f64, f64_of_key)
KEYS(c64, uint64_t, uint64_t, ZERO_C, key_of_c64, c64_of_key)

static const encode_fn encoders[NX_DTYPE_COUNT] = {
    encode_u8,  encode_u8,  encode_u16, encode_u32, encode_u64, encode_i8,   encode_i16,
    encode_i32, encode_i64, encode_f16, encode_f32, encode_f64, encode_bf16, encode_c64,
};
static const decode_fn decoders[NX_DTYPE_COUNT] = {
    decode_u8,  decode_u8,  decode_u16, decode_u32, decode_u64, decode_i8,   decode_i16,
    decode_i32, decode_i64, decode_f16, decode_f32, decode_f64, decode_bf16, decode_c64,
};
