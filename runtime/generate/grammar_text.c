#include "runtime/generate/grammar_text.h"

#include "base/utf8.h"

bool grammar_hex(grammar_text *t, int n, uint32_t *out)
{
    *out = 0;
    for (int i = 0; i < n; i++, t->at++) {
        char c = grammar_peek(t);
        int d = c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
        if (d < 0)
            return false;
        *out = *out << 4 | (uint32_t)d;
    }
    return *out <= 0x10FFFF;
}

bool grammar_plain(grammar_text *t, uint32_t *out)
{
    int n = nx_utf8_decode(t->at, (size_t)(t->end - t->at), out);
    t->at += n < 0 ? -n : n;
    return n > 0;
}

static int number(grammar_text *t)
{
    int n = -1;
    while (grammar_peek(t) >= '0' && grammar_peek(t) <= '9') {
        n = (n < 0 ? 0 : n) * 10 + (grammar_peek(t) - '0');
        n = n > EXPR_REPEAT_MOST + 1 ? EXPR_REPEAT_MOST + 1 : n;
        t->at++;
    }
    return n;
}

/* After a {. */
static bool braces(grammar_text *t, bool from_zero, grammar_times *times)
{
    times->min = times->max = number(t);
    if (grammar_peek(t) == ',') {
        t->at++;
        times->max = number(t);
        if (times->min < 0 && from_zero)
            times->min = 0;
    }
    return times->min >= 0 && grammar_peek(t) == '}' && (times->max < 0 || times->max >= times->min);
}

bool grammar_repetition(grammar_text *t, bool from_zero, grammar_times *times, bool *wrong)
{
    *wrong = false;
    switch (grammar_peek(t)) {
    case '*': *times = (grammar_times){0, -1}; break;
    case '+': *times = (grammar_times){1, -1}; break;
    case '?': *times = (grammar_times){0, 1}; break;
    case '{':
        t->at++;
        *wrong = !braces(t, from_zero, times);
        if (*wrong)
            return false;
        break;
    default: return false;
    }
    t->at++;
    return true;
}
