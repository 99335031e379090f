#include "cli/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "base/error.h"

static int ends[2] = {-1, -1}; /* of the pipe: read, write */
static _Atomic(nexus_session *) answering;
static volatile sig_atomic_t stop_asked, ended;
static struct termios with_echo;
static volatile sig_atomic_t echo_is_off;

static bool ends_program(int signal)
{
    return signal == SIGTERM || signal == SIGHUP || signal == SIGQUIT;
}

/* Only what may be done in a handler. A second wish to end does not wait for anything. */
static void on_signal(int signal)
{
    int saved = errno;
    char event = (char)signal;
    if (ends_program(signal)) {
        if (ended) {
            if (echo_is_off)
                tcsetattr(STDIN_FILENO, TCSANOW, &with_echo);
            _exit(128 + signal);
        }
        ended = signal;
    }
    if (signal == SIGINT || ends_program(signal)) {
        stop_asked = 1;
        nexus_session *s = atomic_load(&answering);
        if (s)
            nexus_session_cancel(s);
    }
    while (write(ends[1], &event, 1) < 0 && errno == EINTR)
        continue;
    errno = saved;
}

static void handle(int signal, void (*handler)(int))
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(signal, &action, NULL);
}

static const int watched[] = {SIGINT, SIGWINCH, SIGTERM, SIGHUP, SIGQUIT};
enum { N_WATCHED = sizeof watched / sizeof *watched };

bool terminal_watch(void)
{
    if (pipe(ends))
        return nx_fail("a pipe for signals cannot be made: %s", strerror(errno));
    for (int i = 0; i < 2; i++) {
        fcntl(ends[i], F_SETFL, O_NONBLOCK);
        fcntl(ends[i], F_SETFD, FD_CLOEXEC);
    }
    for (int i = 0; i < N_WATCHED; i++)
        handle(watched[i], on_signal);
    return true;
}

void terminal_unwatch(void)
{
    for (int i = 0; i < N_WATCHED; i++)
        handle(watched[i], SIG_DFL);
    close(ends[0]);
    close(ends[1]);
    ends[0] = ends[1] = -1;
}

int terminal_signal_fd(void)
{
    return ends[0];
}

int terminal_next_signal(void)
{
    char event;
    if (read(ends[0], &event, 1) != 1)
        return 0;
    if (event == SIGINT)
        stop_asked = 0;
    return event;
}

void terminal_catch_stop(bool on)
{
    handle(SIGTSTP, on ? on_signal : SIG_DFL);
}

/* ---- while an answer is made ---- */

static void set_echo(bool on)
{
    if (on && echo_is_off) {
        tcsetattr(STDIN_FILENO, TCSANOW, &with_echo);
        echo_is_off = 0;
    } else if (!on && !echo_is_off && tcgetattr(STDIN_FILENO, &with_echo) == 0) {
        struct termios quiet = with_echo;
        quiet.c_lflag &= ~(tcflag_t)(ECHO | ICANON); /* so that a Ctrl-D is kept as it is */
        echo_is_off = tcsetattr(STDIN_FILENO, TCSANOW, &quiet) == 0;
    }
}

void terminal_answer_begin(nexus_session *s)
{
    set_echo(false);
    if (s)
        nexus_session_uncancel(s); /* what stopped the answer before, too late */
    atomic_store(&answering, s);
}

void terminal_answer_end(void)
{
    atomic_store(&answering, NULL);
    while (terminal_next_signal())
        continue;
    stop_asked = ended != 0;
    set_echo(true);
}

bool terminal_stop_asked(void)
{
    return stop_asked != 0;
}

int terminal_ended(void)
{
    return ended;
}

bool terminal_has_color(int fd)
{
    const char *no = getenv("NO_COLOR"), *term = getenv("TERM");
    return isatty(fd) && !(no && *no) && term && strcmp(term, "dumb") != 0;
}
