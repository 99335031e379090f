/*
 * options.h: the options that every verb with answers has (run, chat), as rows of one table.
 */
#ifndef NX_CLI_OPTIONS_H
#define NX_CLI_OPTIONS_H

#include "cli/args.h"
#include "nexus/nexus.h"

typedef struct answer_options {
    const char *system;
    int max_tokens, top_k, ctx, threads;
    double temp, top_p, min_p, repeat_penalty;
    uint64_t seed;
    const char *cache_type, *draft, *quantize;
    int draft_tokens;
    bool lookup;
    arg_texts stop;
    bool verbose, force;
} answer_options;

enum { OPTIONS_MOST = 30 }; /* rows of a table made by options_table, its end included */

answer_options options_defaults(void);
/* Fills table with the shared rows, then the verb's own (up to a row without name; may be NULL). */
void options_table(answer_options *o, const arg_option *own, arg_option table[OPTIONS_MOST]);
/* What no single row can refuse. ARGS_OK, or the exit code 2 after a message. */
int options_check(const arg_command *c, const answer_options *o);
/* The sampling part. It borrows o. */
nexus_generate_options options_generate(const answer_options *o);

#endif
