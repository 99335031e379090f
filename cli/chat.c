/*
 * chat.c: nexus chat MODEL: a conversation. Reads messages, answers them, keeps the context from
 * overflowing. It refuses nothing silently: what is left out of the context is said.
 */
#include "cli/chat.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "cli/cli.h"
#include "cli/line.h"
#include "cli/terminal.h"

#define FENCE "\"\"\""

void chat_say(const chat *c, const char *fmt, ...)
{
    va_list ap;
    fputs(c->color ? "\033[2m" : "", stderr);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputs(c->color ? "\033[0m\n" : "\n", stderr);
}

void chat_complain(chat *c, const char *fmt, ...)
{
    va_list ap;
    c->failed = true;
    fputs("nexus: ", stderr);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
}

/* ---- the context ---- */

size_t chat_count(const chat *c, const message_list *messages)
{
    return answerer_count(c->by, messages->at, messages->n);
}

static size_t count_shown(const chat *c)
{
    message_list shown = {0};
    conversation_shown(&c->talk, &shown);
    size_t n = chat_count(c, &shown);
    nx_vec_clear(&shown);
    return n;
}

void chat_recount(chat *c)
{
    c->used = c->talk.messages.n || c->talk.system ? count_shown(c) : 0;
}

/* Room that an answer should have: a quarter of the context, less if no more is wanted. */
static size_t room_for_answer(const chat *c)
{
    size_t quarter = (size_t)c->context / 4, most = (size_t)c->options->max_tokens;
    return most && most < quarter ? most : quarter;
}

/* Leaves out the oldest exchanges when the rest would leave the answer no room; then so many that
 * half of the context is free, since each time the model has to read all that stays. Where nothing
 * can make the last message fit, nothing is left out, and the library says why it does not fit. */
static void make_room(chat *c)
{
    size_t before = c->talk.first, n = count_shown(c), out = 0;
    if (n + room_for_answer(c) <= (size_t)c->context)
        return;
    while (n > (size_t)c->context / 2 && conversation_leave_out(&c->talk)) {
        n = count_shown(c);
        out++;
    }
    if (n >= (size_t)c->context) {
        c->talk.first = before;
        return;
    }
    if (out)
        chat_say(c, "the context of %d tokens is full: the oldest %zu exchange%s left out%s",
                 c->context, out, out == 1 ? " is" : "s are",
                 c->talk.system ? ", the system message stays" : "");
}

/* ---- an answer ---- */

typedef struct {
    chat *chat;
    nx_str text;
    cli_progress progress;
} incoming;

static bool take_piece(const nexus_piece *p, void *user)
{
    incoming *a = user;
    cli_progress_end(&a->progress);
    nx_str_add(&a->text, p->text, p->length);
    if (p->length && !cli_write(p->text, p->length))
        a->chat->broken = true;
    return !a->chat->broken && !terminal_stop_asked();
}

static bool show_prefill(double fraction, void *user)
{
    cli_progress_show(&((incoming *)user)->progress, fraction);
    return !terminal_stop_asked();
}

static void add_figures(chat *c, const nexus_stats *s)
{
    c->last = *s;
    c->answers++;
    c->computed += s->prompt_tokens - s->cached_tokens;
    c->generated += s->generated_tokens;
    c->seconds += s->prefill_seconds + s->decode_seconds;
    c->used = s->prompt_tokens + s->generated_tokens;
}

static void finish_line(chat *c, const nx_str *text)
{
    if (text->len && text->data[text->len - 1] != '\n')
        c->broken |= fputc('\n', stdout) == EOF;
    c->broken |= fflush(stdout) != 0;
}

/* What the person should know about how the answer ended. */
static void tell_end(chat *c, const nexus_stats *s)
{
    if (strcmp(s->stop_reason, "context") == 0)
        chat_say(c, "the context of %d tokens is full: the answer ends here; with the next message "
                 "the oldest exchanges are left out", c->context);
    else if (strcmp(s->stop_reason, "length") == 0)
        chat_say(c, "the answer was ended at --max-tokens %d", c->options->max_tokens);
    if (c->options->verbose)
        cli_print_stats(stderr, s);
}

static nexus_status generate(chat *c, incoming *a, nexus_stats *stats)
{
    message_list shown = {0};
    nexus_generate_options g = options_generate(c->options);
    if (g.seed && c->again)
        g.seed += c->again;
    g.prefill = show_prefill;
    conversation_shown(&c->talk, &shown);
    terminal_answer_begin(c->by->session);
    cli_progress_start(&a->progress, "reading the prompt");
    nexus_status status =
        answerer_chat(c->by, shown.at, shown.n, &g, take_piece, a, stats);
    cli_progress_end(&a->progress);
    finish_line(c, &a->text);
    nx_vec_clear(&shown);
    return status;
}

bool chat_answer(chat *c)
{
    incoming a = {.chat = c};
    nexus_stats stats = {0};
    make_room(c);
    nexus_status status = generate(c, &a, &stats);
    bool stopped = terminal_stop_asked();
    terminal_answer_end();
    if (!c->terminal && stopped)
        c->interrupted = c->leaving = true; /* Ctrl-C ends what a pipe drives */
    if (status)
        chat_complain(c, "%s", nx_error_message());
    else if (c->broken)
        chat_complain(c, "the answer could not be written: standard output is closed or full");
    else if (stopped && c->terminal && !terminal_ended())
        chat_say(c, a.text.len ? "(stopped)" : "(stopped: the message is taken back)");
    bool answered = !status && !(stopped && a.text.len == 0);
    if (answered) {
        add_figures(c, &stats);
        conversation_add(&c->talk, "assistant", nx_str_cstr(&a.text));
        if (!stopped && !c->broken)
            tell_end(c, &stats);
    }
    nx_str_clear(&a.text);
    return answered;
}

static void send_message(chat *c, const char *text)
{
    nx_str_puts(&c->attached, text);
    conversation_add(&c->talk, "user", nx_str_cstr(&c->attached));
    nx_str_truncate(&c->attached, 0);
    c->again = 0;
    if (!chat_answer(c)) {
        free(conversation_pop(&c->talk)); /* a question without an answer confuses the next one */
        chat_recount(c);
    }
}

/* ---- the loop ---- */

static void make_prompt(const chat *c, bool more, nx_str *out)
{
    nx_str_truncate(out, 0);
    if (c->color)
        nx_str_puts(out, "\1\033[1;36m\1");
    if (more)
        nx_str_puts(out, "...");
    else
        nx_str_printf(out, "[%zu/%d] >", c->used, c->context);
    if (c->color)
        nx_str_puts(out, "\1\033[0m\1");
    nx_str_puts(out, " ");
}

/* Takes a FENCE off the end of text. */
static bool close_fence(nx_str *text)
{
    size_t n = text->len;
    if (n < 3 || memcmp(text->data + n - 3, FENCE, 3) != 0)
        return false;
    nx_str_truncate(text, n - 3);
    return true;
}

/* The rest of a message in fences, whose first line is in message. */
static line_kind read_block(chat *c, line_input *in, nx_str *message)
{
    nx_str line = {0}, prompt = {0};
    nx_str first = {0};
    nx_str_puts(&first, nx_str_cstr(message) + 3);
    nx_str_truncate(message, 0);
    line_kind kind = LINE_TEXT;
    bool closed = close_fence(&first);
    if (first.len)
        nx_str_printf(message, closed ? "%s" : "%s\n", nx_str_cstr(&first));
    make_prompt(c, true, &prompt);
    while (!closed && (kind = line_read(in, nx_str_cstr(&prompt), &line)) == LINE_TEXT) {
        line_remember(in, nx_str_cstr(&line));
        closed = close_fence(&line);
        nx_str_add(message, nx_str_cstr(&line), line.len);
        if (!closed)
            nx_str_putc(message, '\n');
    }
    if (closed)
        while (message->len && message->data[message->len - 1] == '\n')
            nx_str_truncate(message, message->len - 1);
    else if (kind == LINE_END)
        chat_complain(c, "the message that began with " FENCE " was not ended by " FENCE
                      ": it was not sent");
    if (kind == LINE_INTERRUPTED && c->terminal)
        kind = LINE_DROPPED; /* Ctrl-C leaves the block, not the program */
    nx_str_clear(&line);
    nx_str_clear(&first);
    nx_str_clear(&prompt);
    return kind;
}

static bool is_blank(const char *s)
{
    return s[strspn(s, " \t")] == '\0';
}

/* A line that came: a command, or (the beginning of) a message. */
static line_kind take_line(chat *c, line_input *in, nx_str *line)
{
    const char *text = nx_str_cstr(line);
    if (is_blank(text))
        return LINE_TEXT;
    line_remember(in, text);
    if (strncmp(text, FENCE, 3) == 0) {
        line_kind kind = read_block(c, in, line);
        if (kind == LINE_TEXT && !is_blank(nx_str_cstr(line)))
            send_message(c, nx_str_cstr(line));
        return kind;
    }
    if (text[0] == '/' && text[1] != '/')
        chat_command(c, text);
    else
        send_message(c, text + (text[0] == '/'));
    return LINE_TEXT;
}

/* Until the person leaves, the pipe ends, or a signal ends it. Returns the exit code. */
static int converse(chat *c, line_input *in)
{
    nx_str prompt = {0}, line = {0};
    int code = EXIT_GOOD;
    bool warned = false; /* Ctrl-C on an empty line, just now */
    while (!c->leaving && !c->broken && !terminal_ended()) {
        make_prompt(c, false, &prompt);
        line_kind kind = line_read(in, nx_str_cstr(&prompt), &line);
        if (kind == LINE_TEXT)
            kind = take_line(c, in, &line);
        if (kind == LINE_END)
            break;
        if (kind == LINE_INTERRUPTED) {
            if (warned || !c->terminal) {
                code = EXIT_INTERRUPTED;
                break;
            }
            chat_say(c, "(Ctrl-C once more, Ctrl-D or /exit leaves)");
        }
        warned = kind == LINE_INTERRUPTED;
    }
    nx_str_clear(&prompt);
    nx_str_clear(&line);
    if (terminal_ended())
        return 128 + terminal_ended();
    return c->interrupted ? EXIT_INTERRUPTED : code;
}

static int chat_with(answerer *by, const char *name, const answer_options *o)
{
    chat c = {.options = o, .by = by, .model_name = name, .context = by->context};
    c.terminal = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
    c.color = c.terminal && terminal_has_color(STDOUT_FILENO) && terminal_has_color(STDERR_FILENO);
    line_input *in = terminal_watch() ? line_new(c.terminal) : NULL;
    int code = EXIT_FAILED;
    if (in) {
        conversation_set_system(&c.talk, o->system);
        chat_recount(&c);
        if (c.terminal)
            chat_say(&c, "%s. /help says what can be done, Ctrl-D leaves.", name);
        code = converse(&c, in);
    } else {
        fprintf(stderr, "nexus: %s\n", nx_error_message());
    }
    if (code == EXIT_GOOD && (c.broken || (c.failed && !c.terminal)))
        code = EXIT_FAILED;
    line_free(in);
    terminal_unwatch();
    conversation_free(&c.talk);
    nx_str_clear(&c.attached);
    nx_str_clear(&c.file);
    return code;
}

/* What the model is called in the store: the last part of its path, without .gguf. Cuts path. */
static const char *stored_name(char *path)
{
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/')
        path[--n] = '\0';
    if (n > 5 && strcasecmp(path + n - 5, ".gguf") == 0)
        path[n - 5] = '\0';
    const char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}

static int chat_here(const char *name, const answer_options *o)
{
    nexus_model_info info;
    nexus_model *m;
    nexus_session *s;
    nexus_status status = nexus_inspect(name, o->ctx, &info);
    if (!status)
        status = cli_load_for(name, o, &m);
    if (status)
        return cli_interrupted() ? EXIT_INTERRUPTED : cli_fail(status);
    int code = EXIT_FAILED;
    status = cli_session_for(m, o, info.context, &s);
    if (status) {
        code = cli_fail(status);
    } else {
        answerer by = answerer_here(m, s);
        code = chat_with(&by, stored_name(info.path), o);
        nexus_session_free(s);
    }
    nexus_model_free(m);
    return code;
}

static int chat_there(const char *name, const answer_options *o, const client_options *server)
{
    answerer by;
    nexus_status status = answerer_open_server(&by, server, name, terminal_stop_asked);
    return status ? cli_fail_here(status) : chat_with(&by, by.name, o);
}

int cli_chat(int argc, char **argv)
{
    answer_options o = options_defaults();
    arg_option options[OPTIONS_MOST];
    client_options server = {0};
    const arg_option own[] = {SERVER_OPTIONS(&server), {0}};
    options_table(&o, own, options);
    const arg_command command = {
        "nexus chat MODEL [options]",
        "A conversation. In it, /help says what can be done.\n"
        "MODEL is a GGUF file, a folder (MLX or Hugging Face), or the name of a stored model.\n"
        "Without a terminal each line of a pipe is a message.",
        options, 1};
    const char *name;
    int code = args_parse(&command, argc, argv, &name);
    if (code != ARGS_OK)
        return code;
    if (!name && !(name = args_profile_text("model")))
        return args_usage_error(&command, "no model was named");
    if ((code = options_check(&command, &o)) != ARGS_OK)
        return code;
    if (o.verbose)
        nx_log_set(NX_LOG_INFO);
    if (!server.server)
        return chat_here(name, &o);
    answerer_tell_unused(argc, argv);
    return chat_there(name, &o, &server);
}
