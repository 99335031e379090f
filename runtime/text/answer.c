#include "runtime/text/answer.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/json.h"

/* How the inside of a mark is read. */
typedef enum {
    INSIDE_CONTENT,
    INSIDE_REASONING,
    INSIDE_CALL,    /* JSON, {"name": …, "arguments": …}, or a list of them, or XML (below) */
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
    {"<tool_call>", "</tool_call>", INSIDE_CALL, false},
    {"<|tool_call_start|>", "<|tool_call_end|>", INSIDE_CALL, true},
    {"<|tool_call|>", "<|/tool_call|>", INSIDE_CALL, true},
    {"[TOOL_CALLS]", NULL, INSIDE_CALL, true},
    {"<|python_tag|>", NULL, INSIDE_CALL, true},
    {"<|channel|>", "<|message|>", INSIDE_HARMONY, true},
    {"<|start|>", "<|channel|>", INSIDE_DROPPED, true},
};
enum { N_MARKS = sizeof marks / sizeof *marks };

struct answer {
    bool active[N_MARKS];
    bool tools;
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

answer *answer_new(const char *chat_template, const char *prompt, bool tools)
{
    answer *a = nx_calloc(1, sizeof *a);
    a->tools = tools;
    for (int i = 0; i < N_MARKS; i++) {
        bool call = marks[i].what == INSIDE_CALL;
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

/* One {"name": …, "arguments" or "parameters": …}. Arguments may be JSON as text. */
static bool tell_call(answer *a, const json_t *call, answer_fn fn, void *user)
{
    const char *name = nx_json_get_str(call, "name", NULL);
    if (!name)
        name = nx_json_get_str(call, "tool_name", NULL);
    const json_t *arguments = json_object_get(call, "arguments");
    if (!arguments)
        arguments = json_object_get(call, "parameters");
    if (!name || (arguments && !json_is_object(arguments) && !json_is_string(arguments)))
        return false;
    char *text = json_is_string(arguments) ? nx_strdup(json_string_value(arguments))
                 : arguments               ? json_dumps(arguments, JSON_COMPACT | JSON_REAL_PRECISION(17))
                                           : nx_strdup("{}");
    a->calls++;
    tell(ANSWER_CALL, name, text, strlen(text), fn, user);
    free(text);
    return true;
}

/* <function=NAME><parameter=KEY>VALUE</parameter>…</function>: values that are JSON are taken as
 * such, others as texts. */
static bool tell_xml_call(answer *a, const char *text, answer_fn fn, void *user)
{
    static const char function[] = "<function=", parameter[] = "<parameter=", end[] = "</parameter>";
    const char *at = strstr(text, function), *stop = at ? strchr(at, '>') : NULL;
    if (!stop)
        return false;
    at += sizeof function - 1;
    char *name = nx_strndup(at, (size_t)(stop - at));
    json_t *call = json_object(), *arguments = json_object();
    for (at = strstr(stop, parameter); at; at = strstr(stop, parameter)) {
        at += sizeof parameter - 1;
        const char *close = strchr(at, '>');
        stop = close ? strstr(close, end) : NULL;
        if (!stop)
            break;
        char *key = nx_strndup(at, (size_t)(close - at));
        const char *from = close + 1, *to = stop;
        while (from < to && is_space(*from))
            from++;
        while (to > from && is_space(to[-1]))
            to--;
        json_t *value = json_loadb(from, (size_t)(to - from), JSON_DECODE_ANY, NULL);
        json_object_set_new(arguments, key, value ? value : json_stringn(from, (size_t)(to - from)));
        free(key);
    }
    json_object_set_new(call, "name", json_string(name));
    json_object_set_new(call, "arguments", arguments);
    bool ok = tell_call(a, call, fn, user);
    json_decref(call);
    free(name);
    return ok;
}

static bool tell_json_calls(answer *a, const char *text, size_t n, answer_fn fn, void *user)
{
    json_t *o = json_loadb(text, n, JSON_DISABLE_EOF_CHECK, NULL);
    bool ok = false;
    size_t i;
    json_t *each;
    if (json_is_array(o))
        json_array_foreach(o, i, each)
            ok = tell_call(a, each, fn, user) || ok;
    else if (json_is_object(o))
        ok = tell_call(a, o, fn, user);
    json_decref(o);
    return ok;
}

/* The inside of a call's marks is complete. What cannot be read is told as it was written. */
static void finish_call(answer *a, const char *text, size_t n, answer_fn fn, void *user)
{
    char *copy = nx_strndup(text, n);
    if (!tell_json_calls(a, copy, n, fn, user) && !tell_xml_call(a, copy, fn, user))
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
    if (a->state == INSIDE_CONTENT && a->tools && a->calls == 0 && a->held.data[a->trim ? 0 : space] == '{')
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
        drop(a, at + strlen(marks[open].open));
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
    leave(a, a->state, text, n, fn, user);
    free(text);
}
