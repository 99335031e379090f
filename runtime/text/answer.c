#include "runtime/text/answer.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "runtime/text/calls.h"

/* How the inside of a mark is read. */
typedef enum {
    INSIDE_CONTENT,
    INSIDE_REASONING,
    INSIDE_CALL,    /* one or several, in any of the forms that calls.h knows */
    INSIDE_CALL_MARKED, /* the same, whose opening mark is a part of what is read */
    INSIDE_HARMONY, /* the rest of a channel's header, "commentary to=functions.f <|constrain|>json" */
    INSIDE_HARMONY_CALL, /* the arguments of the function that the header named */
    INSIDE_DROPPED,      /* of no interest: a role */
    INSIDE_BARE_JSON,    /* an answer that is nothing but a call */
} inside;

typedef struct {
    const char *open, *close; /* close NULL: until the end */
    inside what;
    bool special; /* the marks are special tokens */
} mark;

static const mark marks[] = {
    {"<think>", "</think>", INSIDE_REASONING, false},
    {"[THINK]", "[/THINK]", INSIDE_REASONING, true},
    {"<|START_THINKING|>", "<|END_THINKING|>", INSIDE_REASONING, true},
    {"<|START_RESPONSE|>", "<|END_RESPONSE|>", INSIDE_CONTENT, true},
    {"<|START_ACTION|>", "<|END_ACTION|>", INSIDE_CALL, true},
    {"<seed:think>", "</seed:think>", INSIDE_REASONING, false},
    {"<|channel>thought", "<channel|>", INSIDE_REASONING, true},
    {"<|open|>think<|sep|>", "<|close|>think<|sep|>", INSIDE_REASONING, true},
    {"<|open|>response<|sep|>", "<|close|>response<|sep|>", INSIDE_CONTENT, true},
    {"<tool_call>", "</tool_call>", INSIDE_CALL, false},
    {"<tool_calls:opensource>", "</tool_calls:opensource>", INSIDE_CALL, false},
    {"<minimax:tool_call>", "</minimax:tool_call>", INSIDE_CALL, false},
    {"<atem:function_calls>", "</atem:function_calls>", INSIDE_CALL, false},
    {"<TOOLCALL>", "</TOOLCALL>", INSIDE_CALL, false},
    {"<function=", "</function>", INSIDE_CALL_MARKED, false},
    {"<function name=", "</function>", INSIDE_CALL_MARKED, false},
    {"<|tool_call_start|>", "<|tool_call_end|>", INSIDE_CALL, true},
    {"<|tool_call|>", "<|/tool_call|>", INSIDE_CALL, true},
    {"<|tool_call>", "<tool_call|>", INSIDE_CALL, true},
    {"<|tool_calls_section_begin|>", "<|tool_calls_section_end|>", INSIDE_CALL, true},
    {"<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>", INSIDE_CALL, true},
    {"<｜DSML｜function_calls>", "</｜DSML｜function_calls>", INSIDE_CALL, true},
    {"<｜DSML｜tool_calls>", "</｜DSML｜tool_calls>", INSIDE_CALL, true},
    {"<|tools_prefix|>", "<|tools_suffix|>", INSIDE_CALL, true},
    {"<|open|>tools<|sep|>", "<|close|>tools<|sep|>", INSIDE_CALL, true},
    {"<|function_call|>", NULL, INSIDE_CALL, true},
    {"[TOOL_CALLS]", NULL, INSIDE_CALL, true},
    {"<|python_tag|>", NULL, INSIDE_CALL, true},
    {"<|channel|>", "<|message|>", INSIDE_HARMONY, true},
    {"<|start|>", "<|channel|>", INSIDE_DROPPED, true},
};
enum { N_MARKS = sizeof marks / sizeof *marks };

struct answer {
    bool active[N_MARKS];
    bool tools;
    json_t *described; /* the tools, or NULL */
    bool started; /* something other than white space was seen */
    bool trim;    /* white space before that is dropped: it belongs to the marks of thinking */
    inside state;
    const char *close; /* what ends the state; NULL: nothing does */
    nx_str held;       /* text not told yet */
    nx_str function;   /* harmony: whom the arguments are for */
    size_t calls;
};

bool answer_needs_special(const char *chat_template)
{
    for (int i = 0; chat_template && i < N_MARKS; i++)
        if (marks[i].special && strstr(chat_template, marks[i].open))
            return true;
    return false;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

/* The prompt ends with this mark, white space aside. */
static bool ends_with(const char *prompt, const char *open)
{
    size_t n = strlen(prompt), k = strlen(open);
    while (n > 0 && is_space(prompt[n - 1]))
        n--;
    return n >= k && memcmp(prompt + n - k, open, k) == 0;
}

answer *answer_new(const char *chat_template, const char *prompt, bool tools, json_t *described)
{
    answer *a = nx_calloc(1, sizeof *a);
    a->tools = tools;
    a->described = json_incref(described);
    for (int i = 0; i < N_MARKS; i++) {
        bool call = marks[i].what == INSIDE_CALL || marks[i].what == INSIDE_CALL_MARKED;
        /* Thinking marks need no template that names them: a fine-tune may have learnt to think. */
        bool named = chat_template && strstr(chat_template, marks[i].open);
        a->active[i] = call ? tools && (named || !marks[i].special) : named || !marks[i].special;
        if (prompt && marks[i].what == INSIDE_REASONING && ends_with(prompt, marks[i].open)) {
            a->state = INSIDE_REASONING;
            a->close = marks[i].close;
            a->trim = true;
        }
    }
    return a;
}

void answer_free(answer *a)
{
    if (!a)
        return;
    nx_str_clear(&a->held);
    nx_str_clear(&a->function);
    json_decref(a->described);
    free(a);
}

size_t answer_calls(const answer *a)
{
    return a->calls;
}

const char *answer_thinking_end(const answer *a)
{
    return a->state == INSIDE_REASONING ? a->close : NULL;
}

/* ---- calls ---- */

static void tell(answer_kind kind, const char *name, const char *text, size_t n, answer_fn fn,
                 void *user)
{
    if (n > 0 || kind == ANSWER_CALL)
        fn(&(answer_part){kind, name, text, n}, user);
}

typedef struct {
    answer_fn fn;
    void *user;
} listener;

static void tell_call(const char *name, const char *arguments, void *user)
{
    const listener *l = user;
    tell(ANSWER_CALL, name, arguments, strlen(arguments), l->fn, l->user);
}

/* The inside of a call's marks is complete. What cannot be read is told as it was written. */
static void finish_call(answer *a, const char *text, size_t n, answer_fn fn, void *user)
{
    char *copy = nx_strndup(text, n);
    size_t told = calls_read(copy, a->described, tell_call, &(listener){fn, user});
    a->calls += told;
    if (!told)
        tell(ANSWER_CONTENT, NULL, text, n, fn, user);
    free(copy);
}

static void finish_harmony_call(answer *a, const char *text, size_t n, answer_fn fn, void *user)
{
    a->calls++;
    tell(ANSWER_CALL, nx_str_cstr(&a->function), text, n, fn, user);
}

/* A channel's header was read: what its message is. */
static void enter_channel(answer *a, const char *header, size_t n)
{
    static const char to[] = "to=functions.";
    char *text = nx_strndup(header, n), *at = strstr(text, to);
    a->close = "<|end|>";
    a->state = strncmp(text, "final", 5) == 0 ? INSIDE_CONTENT : INSIDE_REASONING;
    if (at && a->tools) {
        at += sizeof to - 1;
        nx_str_truncate(&a->function, 0);
        nx_str_add(&a->function, at, strcspn(at, " <\n"));
        a->state = INSIDE_HARMONY_CALL;
        a->close = "<|call|>";
    }
    free(text);
}

/* ---- the text as it comes ---- */

/* The first active opening mark in the held text, N_MARKS if there is none. */
static int find_open(const answer *a, size_t *at)
{
    int found = N_MARKS;
    for (int i = 0; i < N_MARKS; i++) {
        const char *p = a->active[i] ? strstr(nx_str_cstr(&a->held), marks[i].open) : NULL;
        if (p && (found == N_MARKS || (size_t)(p - a->held.data) < *at)) {
            *at = (size_t)(p - a->held.data);
            found = i;
        }
    }
    return found;
}

/* Bytes at the end of the held text that this mark begins with. */
static size_t begun(const answer *a, const char *text)
{
    size_t k = text ? strlen(text) : 0;
    k = k ? k - 1 : 0;
    for (k = k < a->held.len ? k : a->held.len; k > 0; k--)
        if (memcmp(a->held.data + a->held.len - k, text, k) == 0)
            return k;
    return 0;
}

static size_t held_back(const answer *a)
{
    size_t most = begun(a, a->close);
    for (int i = 0; a->state == INSIDE_CONTENT && i < N_MARKS; i++) {
        size_t n = a->active[i] ? begun(a, marks[i].open) : 0;
        most = n > most ? n : most;
    }
    return most;
}

static void drop(answer *a, size_t n)
{
    memmove(a->held.data, a->held.data + n, a->held.len - n);
    nx_str_truncate(&a->held, a->held.len - n);
}

static size_t leading_space(const answer *a)
{
    size_t n = 0;
    while (n < a->held.len && is_space(a->held.data[n]))
        n++;
    return n;
}

static void leave(answer *a, inside what, const char *text, size_t n, answer_fn fn, void *user)
{
    a->state = INSIDE_CONTENT;
    a->close = NULL;
    switch (what) {
    case INSIDE_CALL:
    case INSIDE_CALL_MARKED:
    case INSIDE_BARE_JSON: finish_call(a, text, n, fn, user); break;
    case INSIDE_HARMONY: enter_channel(a, text, n); break;
    case INSIDE_HARMONY_CALL: finish_harmony_call(a, text, n, fn, user); break;
    case INSIDE_REASONING:
        tell(ANSWER_REASONING, NULL, text, n, fn, user);
        a->started = false; /* the answer proper begins */
        a->trim = true;
        break;
    case INSIDE_CONTENT: tell(ANSWER_CONTENT, NULL, text, n, fn, user); break;
    case INSIDE_DROPPED: break;
    }
}

/* Once something other than space is there: an answer that begins like JSON may be a call. */
static bool begin(answer *a)
{
    size_t space = leading_space(a);
    if (a->started || (a->state != INSIDE_CONTENT && a->state != INSIDE_REASONING))
        return true;
    if (space == a->held.len)
        return false;
    a->started = true;
    if (a->trim)
        drop(a, space);
    if (a->state == INSIDE_CONTENT && !a->close && a->tools && a->calls == 0 && a->held.data[a->trim ? 0 : space] == '{')
        a->state = INSIDE_BARE_JSON;
    return true;
}

/* Moves over one mark. False when no whole one is held. */
static bool step(answer *a, answer_fn fn, void *user)
{
    size_t at = 0;
    if (!begin(a))
        return false;
    const char *end = a->close ? strstr(nx_str_cstr(&a->held), a->close) : NULL;
    int open = a->state == INSIDE_CONTENT ? find_open(a, &at) : N_MARKS;
    if (end && (open == N_MARKS || (size_t)(end - a->held.data) < at)) {
        size_t n = (size_t)(end - a->held.data), k = strlen(a->close);
        char *text = nx_strndup(a->held.data, n);
        /* A dropped role ends where a channel begins: that mark is read again. */
        drop(a, a->state == INSIDE_DROPPED ? n : n + k);
        leave(a, a->state, text, n, fn, user);
        free(text);
        return true;
    }
    if (open < N_MARKS) {
        tell(ANSWER_CONTENT, NULL, a->held.data, at, fn, user);
        drop(a, at + (marks[open].what == INSIDE_CALL_MARKED ? 0 : strlen(marks[open].open)));
        a->state = marks[open].what;
        a->close = marks[open].close;
        if (a->state == INSIDE_REASONING) {
            a->started = false;
            a->trim = true;
        }
        return true;
    }
    return false;
}

void answer_push(answer *a, const char *text, size_t length, answer_fn fn, void *user)
{
    nx_str_add(&a->held, text, length);
    while (a->held.len && step(a, fn, user))
        ;
    bool flows = a->state == INSIDE_CONTENT || a->state == INSIDE_REASONING;
    if (!flows || a->held.len == 0 || !a->started)
        return;
    size_t ready = a->held.len - held_back(a);
    tell(a->state == INSIDE_REASONING ? ANSWER_REASONING : ANSWER_CONTENT, NULL, a->held.data, ready,
         fn, user);
    drop(a, ready);
}

void answer_end(answer *a, answer_fn fn, void *user)
{
    if (a->held.len == 0)
        return;
    char *text = nx_strndup(a->held.data, a->held.len);
    size_t n = a->held.len;
    nx_str_truncate(&a->held, 0);
    if (!a->started && a->trim)
        n = 0; /* nothing but space */
    if (a->state == INSIDE_CALL_MARKED)
        a->state = INSIDE_CONTENT; /* it was not closed */
    leave(a, a->state, text, n, fn, user);
    free(text);
}
