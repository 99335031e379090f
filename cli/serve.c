/* serve.c: nexus serve: the models of this machine as a service for this machine's programs. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "cli/args.h"
#include "cli/cli.h"
#include "server/server.h"

static void on_ready(const char *url, void *user)
{
    fprintf(stderr, "nexus: serving at %s\n", url);
}

static void on_signal(int number)
{
    server_stop();
}

static void catch_signals(void)
{
    struct sigaction act = {.sa_handler = on_signal};
    sigemptyset(&act.sa_mask);
    sigaction(SIGINT, &act, NULL);
    sigaction(SIGTERM, &act, NULL);
}

int cli_serve(int argc, char **argv)
{
    server_options o = {.host = "127.0.0.1", .port = 8642, .lanes = 8, .ttl = 3600};
    arg_texts folders = {0}, origins = {0};
    bool verbose = false;
    const arg_option options[] = {
        {"host", 0, ARG_TEXT, &o.host, true, "ADDR", "address (127.0.0.1), or unix:PATH"},
        {"port", 'p', ARG_INT, &o.port, true, "N", "port (8642); 0: any free one"},
        {"models", 0, ARG_TEXTS, &folders, false, "DIR", "also look here (may be repeated)"},
        {"model", 'm', ARG_TEXT, &o.model, true, "NAME", "load it now; for requests that name none"},
        {"ctx", 'c', ARG_INT, &o.context, true, "N", "context in tokens (4096, or the model's most)"},
        {"cache-type", 0, ARG_TEXT, &o.cache_type, true, "TYPE", "f16 (default), bf16, f32, q8 or q4"},
        {"parallel", 0, ARG_INT, &o.lanes, true, "N", "answers of one model at a time (8)"},
        {"draft", 0, ARG_TEXT, &o.draft, true, "NAME", "a small model proposes tokens to larger ones"},
        {"lookup", 0, ARG_FLAG, &o.lookup, false, NULL, "propose what stood in the text before"},
        {"draft-tokens", 0, ARG_INT, &o.draft_tokens, true, "N", "at most N proposals a step (1 to 16)"},
        {"ttl", 0, ARG_REAL, &o.ttl, true, "S", "unload after S seconds without use (3600; 0: never)"},
        {"threads", 0, ARG_INT, &o.threads, true, "N", "threads (0: all processors)"},
        {"api-key-file", 0, ARG_TEXT, &o.key_file, true, "FILE", "ask for the key in its first line"},
        {"tls-cert", 0, ARG_TEXT, &o.tls_cert, true, "FILE", "serve HTTPS with this certificate"},
        {"tls-key", 0, ARG_TEXT, &o.tls_key, true, "FILE", "and its key"},
        {"cors", 0, ARG_TEXTS, &origins, false, "ORIGIN", "pages that may call (may be repeated)"},
        {"offline", 0, ARG_FLAG, &o.offline, false, NULL, "fetch nothing: no connection goes out"},
        {"quantize", 0, ARG_TEXT, &o.quantize, true, "HOW",
         "full-precision models with fewer bits: auto, BITS or BITS:GROUP"},
        {"force", 0, ARG_FLAG, &o.force, false, NULL, "load also what does not fit the free memory"},
        {"verbose", 'v', ARG_FLAG, &verbose, false, NULL, "more lines on stderr"},
        {0},
    };
    const arg_command command = {
        "nexus serve [options]",
        "Serves the models of this machine over HTTP: OpenAI's, Anthropic's, LM Studio's and ollama's\n"
        "interfaces on one port, to this machine alone unless --host and a key say otherwise.",
        options, 0};
    int code = args_parse(&command, argc, argv, NULL);
    if (code != ARGS_OK)
        return code;
    if (o.port < 0 || o.port > 65535)
        return args_usage_error(&command, "--port %d is not between 0 and 65535", o.port);
    if (o.lanes < 1 || o.lanes > 256)
        return args_usage_error(&command, "--parallel %d is not between 1 and 256", o.lanes);
    if (o.draft_tokens < 0 || o.draft_tokens > 16)
        return args_usage_error(&command, "--draft-tokens %d is not between 1 and 16", o.draft_tokens);
    if (o.context < 0 || o.threads < 0 || !(o.ttl >= 0))
        return args_usage_error(&command, "--ctx, --threads and --ttl cannot be negative");
    if (verbose)
        nx_log_set(NX_LOG_INFO);
    o.folders = folders.at;
    o.n_folders = folders.n;
    o.origins = origins.at;
    o.n_origins = origins.n;
    catch_signals();
    if (server_run(&o, on_ready, NULL))
        return EXIT_GOOD;
    return cli_fail_here(NEXUS_ERROR);
}
