/*
 * args.h: a command's options as a table: from flags, else from NEXUS_* in the environment, else
 * from config.json; and --help from the same rows.
 */
#ifndef NX_CLI_ARGS_H
#define NX_CLI_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum { ARG_FLAG, ARG_INT, ARG_SEED, ARG_REAL, ARG_TEXT, ARG_TEXTS } arg_type;

/* Texts given by repeating an option. */
typedef struct {
    const char *at[32];
    size_t n;
} arg_texts;

typedef struct {
    const char *name; /* "max-tokens": the flag --max-tokens */
    char letter;      /* 'n': also -n; 0: none */
    arg_type type;
    void *value;      /* bool, int, uint64_t, double, const char *, arg_texts; holds the default */
    bool setting;     /* also read from NEXUS_MAX_TOKENS and from config.json's "max_tokens" */
    const char *operand; /* "N", for the help */
    const char *help;
} arg_option;

typedef struct {
    const char *usage; /* "nexus run MODEL [PROMPT] [options]" */
    const char *about;
    const arg_option *options; /* ends with a row without name */
    int most_operands;
} arg_command;

enum { ARGS_OK = -1 };

/* Reads argv[1..]; operands (at most most_operands) go to operands[], NULL beyond. ARGS_OK, or the
 * exit code of a program that should end now: 0 after --help, 2 after a message. */
int args_parse(const arg_command *c, int argc, char **argv, const char **operands);

/* While set, args_parse does nothing but call it and return 0: how the program asks its own verbs
 * for their options (completions, man page, the names of settings). */
extern void (*args_describe)(const arg_command *c);

/* Every command takes --profile NAME besides its own options (else NEXUS_PROFILE, else the setting
 * "profile"). A profile's values stand between the environment and the settings file. Text of one,
 * NULL where there is none; valid to the end. After args_parse. */
const char *args_profile_text(const char *key);
bool args_profile_given(void); /* by the flag */

/* Prints "nexus: MESSAGE" and, for usage errors, where help is. Returns the exit code 2. */
int args_usage_error(const arg_command *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
