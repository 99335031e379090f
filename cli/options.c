#include "cli/options.h"

#include "base/error.h"

answer_options options_defaults(void)
{
    return (answer_options){.temp = 0.7, .top_p = 0.95, .repeat_penalty = 1, .cache_type = "f16"};
}

void options_table(answer_options *o, const arg_option *own, arg_option table[OPTIONS_MOST])
{
    const arg_option shared[] = {
        {"system", 's', ARG_TEXT, &o->system, false, "TEXT", "system message"},
        {"max-tokens", 'n', ARG_INT, &o->max_tokens, true, "N", "at most N tokens (0: until done)"},
        {"temp", 't', ARG_REAL, &o->temp, true, "T", "temperature (0.7); 0: always the likeliest"},
        {"top-p", 0, ARG_REAL, &o->top_p, true, "P", "keep the likeliest that sum to P (0.95)"},
        {"top-k", 0, ARG_INT, &o->top_k, true, "K", "keep the K likeliest (0: all)"},
        {"min-p", 0, ARG_REAL, &o->min_p, true, "P", "drop what is under P of the likeliest (0)"},
        {"repeat-penalty", 0, ARG_REAL, &o->repeat_penalty, true, "R",
         "against repetition (1: none)"},
        {"stop", 0, ARG_TEXTS, &o->stop, false, "TEXT", "end the answer at TEXT (may be repeated)"},
        {"seed", 0, ARG_SEED, &o->seed, true, "S", "same seed, same answer (0: a new one)"},
        {"ctx", 'c', ARG_INT, &o->ctx, true, "N", "context in tokens (4096, or the model's most)"},
        {"cache-type", 0, ARG_TEXT, &o->cache_type, true, "TYPE", "f16 (default), bf16, f32, q8 or q4"},
        {"quantize", 0, ARG_TEXT, &o->quantize, true, "HOW",
         "a full-precision model with fewer bits: auto, BITS or BITS:GROUP (kept in the cache)"},
        {"draft", 0, ARG_TEXT, &o->draft, true, "MODEL", "a small model proposes tokens (same answer)"},
        {"lookup", 0, ARG_FLAG, &o->lookup, false, NULL, "propose what stood in the text before"},
        {"draft-tokens", 0, ARG_INT, &o->draft_tokens, true, "N", "at most N proposals a step (1 to 16)"},
        {"threads", 0, ARG_INT, &o->threads, true, "N", "threads (0: all processors)"},
        {"force", 0, ARG_FLAG, &o->force, false, NULL, "load it though memory does not suffice"},
        {"verbose", 'v', ARG_FLAG, &o->verbose, false, NULL, "statistics on stderr"},
    };
    size_t n = 0;
    for (size_t i = 0; i < sizeof shared / sizeof *shared; i++)
        table[n++] = shared[i];
    for (; own && own->name; own++) {
        NX_BUG_IF(n + 1 >= OPTIONS_MOST);
        table[n++] = *own;
    }
    table[n] = (arg_option){0};
}

int options_check(const arg_command *c, const answer_options *o)
{
    if (o->max_tokens < 0 || o->ctx < 0 || o->threads < 0)
        return args_usage_error(c, "--max-tokens, --ctx and --threads cannot be negative");
    if (o->draft_tokens < 0 || o->draft_tokens > 16)
        return args_usage_error(c, "--draft-tokens %d is not between 1 and 16", o->draft_tokens);
    return ARGS_OK;
}

nexus_generate_options options_generate(const answer_options *o)
{
    nexus_generate_options g = nexus_generate_defaults();
    g.max_tokens = o->max_tokens;
    g.temperature = (float)o->temp;
    g.top_k = o->top_k;
    g.top_p = (float)o->top_p;
    g.min_p = (float)o->min_p;
    g.repeat_penalty = (float)o->repeat_penalty;
    g.seed = o->seed;
    g.lookup = o->lookup;
    g.draft_tokens = o->draft_tokens;
    g.stop = o->stop.at;
    g.stop_count = o->stop.n;
    return g;
}
