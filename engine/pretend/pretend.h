/*
 * pretend.h: what the pretended GPU did, for tests. Counted since the start of the process.
 */
#ifndef NX_PRETEND_PRETEND_H
#define NX_PRETEND_PRETEND_H

#include <stdint.h>

typedef struct {
    int64_t kernels;
    int64_t fills, fetches; /* moves to the device, to the host */
    int64_t bytes_filled, bytes_fetched;
} nx_pretend_counts;

nx_pretend_counts nx_pretend_count(void);

#endif
