#include "cli/cli.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "base/error.h"
#include "base/os.h"
#include "cli/options.h"

static int say_failure(nexus_status status, const char *message)
{
    fprintf(stderr, "nexus: %s\n", message);
    return status == NEXUS_ERROR_ARGUMENT ? EXIT_USAGE : EXIT_FAILED;
}

int cli_fail(nexus_status status)
{
    return say_failure(status, nexus_error_message());
}

int cli_fail_here(nexus_status status)
{
    return say_failure(status, nx_error_message());
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

static nexus_status load_with(const char *name, nexus_load_options o, nexus_model **out)
{
    cli_progress p;
    cli_interrupt_watch(NULL);
    cli_progress_start(&p, "loading");
    o.progress = loading;
    o.user = &p;
    nexus_status status = nexus_model_load(name, &o, out);
    cli_progress_end(&p);
    return status;
}

nexus_status cli_open_model(const char *name, int threads, nexus_model **out)
{
    return load_with(name, (nexus_load_options){.threads = threads}, out);
}

nexus_status cli_load_for(const char *name, const answer_options *o, nexus_model **out)
{
    nexus_load_options lo = {.threads = o->threads, .context = o->ctx, .cache_type = o->cache_type,
                             .force = o->force, .quantize = o->quantize};
    nexus_status status = load_with(name, lo, out);
    if (!status && nexus_model_note(*out))
        fprintf(stderr, "nexus: %s\n", nexus_model_note(*out));
    return status;
}

nexus_status cli_session_for(nexus_model *m, const answer_options *o, int context,
                             nexus_session **out)
{
    nexus_session_options so = {.context = context, .cache_type = o->cache_type};
    nexus_status status = o->draft ? cli_load_for(o->draft, o, &so.draft) : NEXUS_OK;
    if (!status)
        status = nexus_session_new(m, &so, out);
    nexus_model_free(so.draft); /* the session keeps it */
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

/* ---- text and figures ---- */

/* Bytes of the control character that text begins with, and its sign in "^[" notation; else 0. A
 * terminal obeys these, and a model (or a file it was shown) shall not steer one. */
static size_t control_at(const unsigned char *text, size_t n, char *sign)
{
    if (n > 1 && text[0] == 0xC2 && text[1] < 0xA0) { /* U+0080 to U+009F */
        *sign = (char)(text[1] - 0x40);
        return 2;
    }
    *sign = (char)(*text ^ 0x40);
    return (*text < 0x20 && *text != '\n' && *text != '\t') || *text == 0x7F;
}

bool cli_write(const char *text, size_t n)
{
    static int terminal = -1;
    char sign;
    if (terminal < 0)
        terminal = isatty(STDOUT_FILENO);
    for (size_t i = 0; terminal && i < n;) {
        size_t control = control_at((const unsigned char *)text + i, n - i, &sign);
        if (control) {
            fwrite(text, 1, i, stdout);
            fprintf(stdout, "^%c", sign);
            text += i + control;
            n -= i + control;
            i = 0;
        } else {
            i++;
        }
    }
    return fwrite(text, 1, n, stdout) == n && fflush(stdout) == 0;
}

void cli_print_stats(FILE *out, const nexus_stats *s)
{
    char memory[32];
    double prefill = s->prefill_seconds, decode = s->decode_seconds;
    size_t computed = s->prompt_tokens - s->cached_tokens;
    fprintf(out, "prompt    %zu tokens, %zu computed, %.1f tokens/s\n", s->prompt_tokens, computed,
            prefill > 0 ? (double)computed / prefill : 0);
    fprintf(out, "answer    %zu tokens, %.1f tokens/s\n", s->generated_tokens,
            decode > 0 ? (double)(s->generated_tokens - 1) / decode : 0);
    if (s->drafted_tokens)
        fprintf(out, "drafts    %zu tokens, %zu of them right\n", s->drafted_tokens, s->accepted_tokens);
    fprintf(out, "first     after %.3f s\n", s->time_to_first_token_seconds);
    fprintf(out, "memory    %s at most\n",
            cli_bytes(s->peak_memory_bytes, memory, sizeof memory));
    fprintf(out, "stopped   %s\n", s->stop_reason);
}
