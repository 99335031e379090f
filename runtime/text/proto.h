/*
 * proto.h: the wire form of protocol buffers, read in place: fields of a message one after the other. What
 * the fields mean is the caller's business. Nothing outside the message is read, whatever its bytes say.
 *
 *     for (proto p = {.at = data, .left = n}; proto_next(&p);)
 *         switch (p.field) …
 *     if (p.bad) the message is broken
 */
#ifndef NX_RUNTIME_TEXT_PROTO_H
#define NX_RUNTIME_TEXT_PROTO_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/slice.h"

typedef enum { PROTO_NUMBER = 0, PROTO_FIXED64 = 1, PROTO_BYTES = 2, PROTO_FIXED32 = 5 } proto_kind;

typedef struct {
    const char *at;
    size_t left;
    bool bad;
    /* The field at hand. */
    uint32_t field;
    proto_kind kind;
    uint64_t number; /* of NUMBER, FIXED32 and FIXED64 */
    nx_slice bytes;  /* of BYTES: a string or another message */
} proto;

static inline bool proto_fail(proto *p)
{
    p->bad = true;
    return false;
}

static inline bool proto_varint(proto *p, uint64_t *v)
{
    *v = 0;
    for (int shift = 0; shift < 64 && p->left; shift += 7) {
        unsigned char c = (unsigned char)*p->at++;
        p->left--;
        *v |= (uint64_t)(c & 127) << shift;
        if (!(c & 128))
            return true;
    }
    return proto_fail(p);
}

static inline bool proto_fixed(proto *p, size_t n)
{
    if (p->left < n)
        return proto_fail(p);
    p->number = 0;
    for (size_t i = 0; i < n; i++)
        p->number |= (uint64_t)(unsigned char)p->at[i] << 8 * i;
    p->at += n;
    p->left -= n;
    return true;
}

/* The next field; false at the end or at a fault. */
static inline bool proto_next(proto *p)
{
    uint64_t key, n;
    if (p->bad || !p->left || !proto_varint(p, &key))
        return false;
    p->kind = (proto_kind)(key & 7);
    if (key >> 3 == 0 || key >> 3 > 0x1FFFFFFF)
        return proto_fail(p);
    p->field = (uint32_t)(key >> 3);
    switch (p->kind) {
    case PROTO_NUMBER: return proto_varint(p, &p->number);
    case PROTO_FIXED64: return proto_fixed(p, 8);
    case PROTO_FIXED32: return proto_fixed(p, 4);
    case PROTO_BYTES:
        if (!proto_varint(p, &n) || n > p->left)
            return proto_fail(p);
        p->bytes = (nx_slice){p->at, (size_t)n};
        p->at += n;
        p->left -= (size_t)n;
        return true;
    default: return proto_fail(p);
    }
}

/* A float field's value. */
static inline float proto_float(const proto *p)
{
    uint32_t bits = (uint32_t)p->number;
    float f;
    memcpy(&f, &bits, 4);
    return f;
}

#endif
