/*
 * transport.h: what a library that carries arrays between processes offers (libnexus_mpi.so), as one
 * const table that it exports under the name NX_TRANSPORT_SYMBOL.
 *
 * Functions that can fail return NULL, or one sentence that says why, which stays valid until the
 * next call in this thread. All may be called from any thread at once.
 */
#ifndef NX_DIST_TRANSPORT_H
#define NX_DIST_TRANSPORT_H

#include <stdint.h>

#include "engine/core/dtype.h"

enum { NX_TRANSPORT_VERSION = 1 };
#define NX_TRANSPORT_SYMBOL "nexus_transport"

typedef struct nx_comm nx_comm; /* processes with ranks; lives as long as the process */

typedef enum {
    NX_ALL_REDUCE,     /* out[i] = in[i] of all processes combined */
    NX_ALL_GATHER,     /* out is the `in` of all processes, one after the other */
    NX_REDUCE_SCATTER, /* in is a part a process; out is this one's, combined */
    NX_SEND,           /* in to peer */
    NX_RECV,           /* out from peer */
} nx_exchange_kind;
typedef enum { NX_COMBINE_SUM, NX_COMBINE_MAX, NX_COMBINE_MIN } nx_combine;

/* One operation. in and out are dense row-major; they may be the same memory for NX_ALL_REDUCE. */
typedef struct {
    nx_exchange_kind kind;
    nx_combine combine;
    nx_dtype dtype;
    const void *in;
    void *out;
    int64_t n; /* elements of in (NX_RECV: of out) */
    int peer;  /* of NX_SEND and NX_RECV */
} nx_exchange;

typedef struct {
    int version;
    /* Once a process: joins the others. warn(text) is for what a person should know meanwhile. */
    const char *(*start)(void (*warn)(const char *text), nx_comm **all);
    int (*rank)(const nx_comm *c);
    int (*size)(const nx_comm *c);
    /* Called by all of c. Those with one color come together, in the order of key (then of rank);
     * a key below 0 stands for the rank. */
    const char *(*split)(nx_comm *c, int color, int key, nx_comm **part);
    /* Blocks until this process's side is done. */
    const char *(*run)(nx_comm *c, const nx_exchange *x);
} nx_transport;

#endif
