/* spread.h: a loop over rows on all processors, for work that is not the engine's. */
#ifndef NX_RUNTIME_CONVERT_SPREAD_H
#define NX_RUNTIME_CONVERT_SPREAD_H

/* Calls fn with parts of 0 .. n - 1 that together are all of it; returns when all have. */
void spread(int n, void (*fn)(int begin, int end, void *arg), void *arg);

#endif
