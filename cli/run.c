/* run.c: nexus run MODEL [PROMPT]: one answer, streamed. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/str.h"
#include "base/utf8.h"
#include "cli/args.h"
#include "cli/answerer.h"
#include "cli/cli.h"
#include "cli/input.h"
#include "cli/options.h"

typedef struct {
    answer_options common;
    bool raw, json;
    client_options server; /* .server NULL: the model runs in this process */
} run_options;

/* What arrives while the answer is made. */
typedef struct {
    bool json, failed;
    nx_str text;
    json_t *ids, *logprobs;
    cli_progress progress;
    char last; /* byte written */
} answer;

static bool take_piece(const nexus_piece *p, void *user)
{
    answer *a = user;
    cli_progress_end(&a->progress);
    if (a->json) {
        nx_str_add(&a->text, p->text, p->length);
        if (p->id >= 0) {
            json_array_append_new(a->ids, json_integer(p->id));
            json_array_append_new(a->logprobs, json_real(p->logprob));
        }
        return true;
    }
    if (p->length == 0)
        return true;
    a->last = p->text[p->length - 1];
    a->failed = !cli_write(p->text, p->length);
    return !a->failed;
}

static bool show_prefill(double fraction, void *user)
{
    cli_progress_show(&((answer *)user)->progress, fraction);
    return true;
}

static void print_json(answer *a, const nexus_stats *s)
{
    json_t *o = json_pack(
        "{s:s%, s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:f, s:I, s:s}", "text", nx_str_cstr(&a->text),
        a->text.len, "ids", json_incref(a->ids), "logprobs", json_incref(a->logprobs),
        "prompt_tokens", (json_int_t)s->prompt_tokens, "cached_tokens", (json_int_t)s->cached_tokens,
        "generated_tokens", (json_int_t)s->generated_tokens, "drafted_tokens",
        (json_int_t)s->drafted_tokens, "accepted_tokens", (json_int_t)s->accepted_tokens, "prefill_seconds", s->prefill_seconds,
        "decode_seconds", s->decode_seconds, "time_to_first_token_seconds",
        s->time_to_first_token_seconds, "peak_memory_bytes", (json_int_t)s->peak_memory_bytes,
        "stop_reason", s->stop_reason);
    char *text = json_dumps(o, JSON_REAL_PRECISION(9));
    a->failed = printf("%s\n", text) < 0 || fflush(stdout) != 0;
    free(text);
    json_decref(o);
}

/* The prompt from the argument or from a pipe, as valid UTF-8. False after a message. */
static bool read_prompt(const char *argument, nx_str *out)
{
    nx_str bytes = {0};
    if (argument) {
        nx_str_puts(&bytes, argument);
    } else {
        input_read(NULL, &bytes); /* what was read until a failure is answered */
        while (bytes.len && (bytes.data[bytes.len - 1] == '\n' || bytes.data[bytes.len - 1] == '\r'))
            nx_str_truncate(&bytes, bytes.len - 1); /* the line's end is not part of the prompt */
    }
    for (size_t i = 0; i < bytes.len; i++)
        if (bytes.data[i] == '\0')
            bytes.data[i] = (char)0xFF; /* no text holds NUL: it counts as an invalid byte */
    size_t replaced = nx_utf8_replace(out, nx_str_cstr(&bytes), bytes.len);
    nx_str_clear(&bytes);
    if (replaced)
        fprintf(stderr, "nexus: the prompt is not valid UTF-8: %zu place%s replaced by U+FFFD\n",
                replaced, replaced == 1 ? " was" : "s were");
    return out->len > 0;
}

static nexus_status generate(answerer *by, const run_options *o, const char *prompt, answer *a,
                             nexus_stats *stats)
{
    nexus_generate_options g = options_generate(&o->common);
    g.logprobs = o->json;
    g.prefill = show_prefill;
    if (o->raw)
        return answerer_complete(by, prompt, &g, take_piece, a, stats);
    nexus_message messages[2] = {{"system", o->common.system}, {"user", prompt}};
    size_t skip = o->common.system ? 0 : 1; /* without one the template may bring its own */
    return answerer_chat(by, messages + skip, 2 - skip, &g, take_piece, a, stats);
}

static int answer_prompt(answerer *by, const run_options *o, const char *prompt)
{
    nexus_status status;
    answer a = {.json = o->json, .ids = json_array(), .logprobs = json_array()};
    nexus_stats stats = {0};
    cli_interrupt_watch(by->session);
    if (cli_interrupted() && by->session)
        nexus_session_cancel(by->session);
    cli_progress_start(&a.progress, "reading the prompt");
    status = cli_interrupted() ? NEXUS_ERROR_CANCELLED : generate(by, o, prompt, &a, &stats);
    cli_interrupt_watch(NULL);
    cli_progress_end(&a.progress);
    if (!status && o->json)
        print_json(&a, &stats);
    else if (!o->json && a.last && a.last != '\n' && !a.failed)
        a.failed = fputs("\n", stdout) < 0 || fflush(stdout) != 0;
    int code = EXIT_GOOD;
    if (cli_interrupted()) {
        code = EXIT_INTERRUPTED;
    } else if (status) {
        code = cli_fail_here(status);
    } else if (a.failed) {
        fputs("nexus: the answer could not be written: standard output is closed or full\n", stderr);
        code = EXIT_FAILED;
    } else if (o->common.verbose) {
        cli_print_stats(stderr, &stats);
    }
    if (code == EXIT_GOOD && strcmp(stats.stop_reason, "context") == 0)
        fprintf(stderr, "nexus: the context of %zu tokens is full: the answer ends here\n",
                stats.prompt_tokens + stats.generated_tokens);
    nx_str_clear(&a.text);
    json_decref(a.ids);
    json_decref(a.logprobs);
    return code;
}

static int answer_here(const char *name, const run_options *o, const char *prompt)
{
    nexus_model *m;
    nexus_status status = cli_load_for(name, &o->common, &m);
    if (status)
        return cli_interrupted() ? EXIT_INTERRUPTED : cli_fail(status);
    nexus_session *s;
    status = cli_session_for(m, &o->common, o->common.ctx, &s);
    int code = EXIT_FAILED;
    if (status) {
        code = cli_fail(status);
    } else {
        answerer by = answerer_here(m, s);
        code = answer_prompt(&by, o, prompt);
        nexus_session_free(s);
    }
    nexus_model_free(m);
    return code;
}

static int answer_there(const char *name, const run_options *o, const char *prompt)
{
    answerer by;
    cli_interrupt_watch(NULL);
    nexus_status status = answerer_open_server(&by, &o->server, name, cli_interrupted);
    return status ? cli_fail_here(status) : answer_prompt(&by, o, prompt);
}

int cli_run(int argc, char **argv)
{
    run_options o = {.common = options_defaults()};
    const arg_option own[] = {
        {"raw", 0, ARG_FLAG, &o.raw, false, NULL, "continue the prompt as it stands, no template"},
        SERVER_OPTIONS(&o.server),
        {"json", 0, ARG_FLAG, &o.json, false, NULL, "one JSON object with text, ids and statistics"},
        {0},
    };
    arg_option options[OPTIONS_MOST];
    options_table(&o.common, own, options);
    const arg_command command = {
        "nexus run MODEL [PROMPT] [options]",
        "Answers PROMPT, or what a pipe brings, and streams the answer to stdout.\n"
        "MODEL is a GGUF file, a folder (MLX or Hugging Face), or the name of a stored model.",
        options, 2};
    const char *operands[2];
    int code = args_parse(&command, argc, argv, operands);
    if (code != ARGS_OK)
        return code;
    const char *model = args_profile_text("model");
    if (model && !operands[1] && (args_profile_given() || !operands[0])) { /* then the prompt is all */
        operands[1] = operands[0];
        operands[0] = model;
    }
    if (!operands[0])
        return args_usage_error(&command, "no model was named");
    if (!operands[1] && isatty(STDIN_FILENO))
        return args_usage_error(&command, "there is no prompt: give one, or pipe it in");
    if ((code = options_check(&command, &o.common)) != ARGS_OK)
        return code;
    if (o.common.verbose)
        nx_log_set(NX_LOG_INFO);
    nx_str prompt = {0};
    if (!read_prompt(operands[1], &prompt)) {
        nx_str_clear(&prompt);
        return args_usage_error(&command, "the prompt is empty");
    }
    if (o.server.server) {
        answerer_tell_unused(argc, argv);
        code = answer_there(operands[0], &o, nx_str_cstr(&prompt));
    } else {
        code = answer_here(operands[0], &o, nx_str_cstr(&prompt));
    }
    nx_str_clear(&prompt);
    return code;
}
