/* bandwidth.h: how fast this machine reads memory, the limit of decoding. */
#ifndef NX_CLI_BANDWIDTH_H
#define NX_CLI_BANDWIDTH_H

/* Bytes a second with so many threads (0: one a processor), nearly the best of many passes over more
 * memory than most caches hold; 0 where there is no memory for it. Takes about a quarter second. */
double cli_read_bandwidth(int threads);

#endif
