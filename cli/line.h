/*
 * line.h: lines of input: edited, with history, at a terminal (libedit); else as a pipe brings them.
 *
 * Text is valid UTF-8 whatever came in: invalid bytes, and NUL, become U+FFFD. The history is plain
 * text, a line an entry, in ${XDG_DATA_HOME:-~/.local/share}/nexus/history.
 */
#ifndef NX_CLI_LINE_H
#define NX_CLI_LINE_H

#include <stdbool.h>

#include "base/str.h"

typedef struct line_input line_input;

typedef enum {
    LINE_TEXT,
    LINE_END,         /* Ctrl-D on an empty line, or the pipe's end */
    LINE_DROPPED,     /* Ctrl-C, and there was text */
    LINE_INTERRUPTED, /* Ctrl-C on an empty line, or in a pipe */
    LINE_ENDED,       /* a signal that ends the program: terminal_ended says which */
} line_kind;

/* After terminal_watch. NULL with an error. */
line_input *line_new(bool terminal);
void line_free(line_input *in);
/* Sets out to the next line, without its end. The prompt is shown at a terminal alone; between
 * bytes of value 1 it may hold escape sequences, but not at its very end. */
line_kind line_read(line_input *in, const char *prompt, nx_str *out);
/* Adds to the history, now and for later conversations. */
void line_remember(line_input *in, const char *text);

#endif
