/*
 * verbs.h: all verbs and their options as data, asked of the verbs themselves: completions, the man
 * page and the list of settings come from the tables that parse and help.
 */
#ifndef NX_CLI_VERBS_H
#define NX_CLI_VERBS_H

#include "cli/args.h"

typedef struct {
    const char *name, *about;
    char *usage, *text; /* of its help */
    size_t n_options;
    struct verb_option {
        char *name, *operand, *help;
        char letter;
        arg_type type;
        bool setting;
    } options[64];
} verb;

/* All verbs in the order of the help; made once, kept to the end. */
const verb *verbs_all(size_t *n);
/* The option of this name that is a setting ("max_tokens" or "max-tokens"); NULL: none. */
const struct verb_option *verbs_setting(const char *key);
/* Keys of options that profiles may hold too: any option's, by its spelling with '_'. */
bool verbs_has_option(const char *key);

#endif
