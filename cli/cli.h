/*
 * cli.h: what the verbs of the program share. A verb is one file and one row in main.c.
 */
#ifndef NX_CLI_CLI_H
#define NX_CLI_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "nexus/nexus.h"

enum { EXIT_GOOD = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_INTERRUPTED = 130 };

/* Verbs: argv[0] is the verb; the result is the exit code. */
#define NX_COMMAND(name, about) int cli_##name(int argc, char **argv);
#include "cli/commands.def"
#undef NX_COMMAND

/* "nexus: " and the library's message on stderr; EXIT_FAILED, or EXIT_USAGE for wrong arguments. */
int cli_fail(nexus_status status);
/* The same for what the program itself recorded (nx_fail): its messages and the library's are apart. */
int cli_fail_here(nexus_status status);

/* Loads with a progress line on a terminal (only when it takes over a second) and Ctrl-C. */
nexus_status cli_open_model(const char *name, int threads, nexus_model **out);
/* The same, refused where it does not fit with the context and cache of o, unless forced. */
struct answer_options;
nexus_status cli_load_for(const char *name, const struct answer_options *o, nexus_model **out);
/* A session with the options' cache and draft model, which is loaded for it. */
nexus_status cli_session_for(nexus_model *m, const struct answer_options *o, int context,
                             nexus_session **out);

/* A progress line on stderr, "reading the prompt  42%", when it lasts over a second and stderr is a
 * terminal. */
typedef struct {
    const char *what;
    double started;
    bool shown;
} cli_progress;
void cli_progress_start(cli_progress *p, const char *what);
void cli_progress_show(cli_progress *p, double fraction);
void cli_progress_end(cli_progress *p); /* wipes the line */

/* Ctrl-C: cancels this session (NULL: none yet). A second one ends the program at once. */
void cli_interrupt_watch(nexus_session *s);
bool cli_interrupted(void);

/* Streams a piece of an answer (whole characters) to stdout. On a terminal control characters are
 * shown as ^[ and not obeyed. False when it could not be written. */
bool cli_write(const char *text, size_t n);

/* The figures of one answer, a line each. */
void cli_print_stats(FILE *out, const nexus_stats *s);

/* "98.4 MB", "1.24 GB" */
const char *cli_bytes(unsigned long long n, char *out, size_t size);

#endif
