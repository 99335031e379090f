/*
 * terminal.h: the terminal under a conversation: signals as events, echo, colour.
 *
 * Signals are written into a pipe by their handler, so whoever waits for input waits for them too,
 * and whichever thread the system picks for the handler does not matter.
 */
#ifndef NX_CLI_TERMINAL_H
#define NX_CLI_TERMINAL_H

#include <stdbool.h>

#include "nexus/nexus.h"

/* Watches Ctrl-C, hang-ups and changes of size. False with an error (errno's) when there are no
 * file descriptors left. */
bool terminal_watch(void);
void terminal_unwatch(void);
int terminal_signal_fd(void);     /* readable when terminal_next_signal has one */
int terminal_next_signal(void);   /* SIGINT, SIGWINCH, …; 0: none */
void terminal_catch_stop(bool on); /* also Ctrl-Z, while the terminal is in an editor's mode */

/* Between these Ctrl-C cancels the session, and what is typed is not shown but kept for the next
 * line. The end forgets Ctrl-C, not the signals that end a program. */
void terminal_answer_begin(nexus_session *s);
void terminal_answer_end(void);
bool terminal_stop_asked(void); /* since the beginning of the answer */
int terminal_ended(void);       /* SIGTERM, SIGHUP or SIGQUIT if it came: the program is to end; or 0 */

/* The fd is a terminal that knows colours, and nobody asked for none (NO_COLOR). */
bool terminal_has_color(int fd);

#endif
