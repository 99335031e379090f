#include "cli/cli.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "base/os.h"

int cli_fail(nexus_status status)
{
    fprintf(stderr, "nexus: %s\n", nexus_error_message());
    return status == NEXUS_ERROR_ARGUMENT ? EXIT_USAGE : EXIT_FAILED;
}

/* ---- progress ---- */

void cli_progress_start(cli_progress *p, const char *what)
{
    *p = (cli_progress){.what = what, .started = nx_os_seconds()};
}

void cli_progress_show(cli_progress *p, double fraction)
{
    if (!isatty(STDERR_FILENO) || nx_os_seconds() - p->started < 1)
        return;
    fprintf(stderr, "\r\033[K%s %3.0f%%", p->what, fraction * 100);
    p->shown = true;
}

void cli_progress_end(cli_progress *p)
{
    if (p->shown)
        fputs("\r\033[K", stderr);
    p->shown = false;
}

/* ---- Ctrl-C ---- */

static _Atomic(nexus_session *) watched;
static volatile sig_atomic_t interrupts;

static void on_interrupt(int signal)
{
    (void)signal;
    if (interrupts++)
        _exit(EXIT_INTERRUPTED);
    nexus_session *s = atomic_load(&watched);
    if (s)
        nexus_session_cancel(s);
}

void cli_interrupt_watch(nexus_session *s)
{
    atomic_store(&watched, s);
    struct sigaction action = {.sa_handler = on_interrupt};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
}

bool cli_interrupted(void)
{
    return interrupts != 0;
}

/* ---- loading ---- */

static bool loading(double fraction, void *user)
{
    cli_progress_show(user, fraction);
    return !cli_interrupted();
}

nexus_status cli_load(const char *name, int threads, nexus_model **out)
{
    cli_progress p;
    cli_interrupt_watch(NULL);
    cli_progress_start(&p, "loading");
    nexus_load_options o = {.progress = loading, .user = &p, .threads = threads};
    nexus_status status = nexus_model_load(name, &o, out);
    cli_progress_end(&p);
    return status;
}

const char *cli_bytes(unsigned long long n, char *out, size_t size)
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};
    double v = (double)n;
    int u = 0;
    for (; v >= 999.5 && u < 4; u++)
        v /= 1000;
    snprintf(out, size, u == 0 ? "%.0f %s" : v < 10 ? "%.2f %s" : v < 100 ? "%.1f %s" : "%.0f %s", v,
             units[u]);
    return out;
}
