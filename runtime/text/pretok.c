#include "runtime/text/pretok.h"

#include <string.h>

#include "base/error.h"
#include "runtime/text/uniclass.h"

void pre_list_clear(pre_list *l)
{
    for (size_t i = 0; i < l->steps.n; i++) {
        rx_free(l->steps.at[i].regex);
        nx_str_clear(&l->steps.at[i].text);
    }
    nx_vec_clear(&l->steps);
}

bool pre_add(pre_list *l, pre_step step)
{
    nx_vec_push(&l->steps, step);
    if (l->steps.n > PRE_MAX_STEPS)
        return nx_fail("[tokenizer] more than %d pre-tokenizer steps", PRE_MAX_STEPS);
    return true;
}

bool pre_add_regex(pre_list *l, nx_slice pattern, pre_behavior behavior, bool invert)
{
    rx_pattern *r = rx_compile(pattern);
    return r &&
           pre_add(l, (pre_step){
                          .kind = PRE_REGEX, .behavior = behavior, .invert = invert, .regex = r});
}

typedef struct {
    const pre_list *list;
    rx_state *rx;
    pre_sink *sink;
    void *user;
} run;

static bool run_step(run *r, size_t step, const char *s, size_t n, bool at_start);

/* ---- splitting ---- */

/* Collects the matches and gaps of one split as they come, and passes pieces on. One range is
 * held back while a behaviour may still join it with the next. */
typedef struct {
    run *run;
    size_t step;
    const pre_step *how;
    const char *s;
    bool at_start;
    size_t held_begin, held_end;
    bool held, held_match;
} splitter;

static bool pass_on(splitter *p, size_t begin, size_t end)
{
    if (begin == end)
        return true;
    return run_step(p->run, p->step + 1, p->s + begin, end - begin, p->at_start && begin == 0);
}

static bool flush(splitter *p)
{
    bool had = p->held;
    p->held = false;
    return !had || pass_on(p, p->held_begin, p->held_end);
}

static bool hold(splitter *p, size_t begin, size_t end, bool match)
{
    p->held_begin = begin;
    p->held_end = end;
    p->held_match = match;
    p->held = true;
    return true;
}

/* The ranges come in order and cover the text; match says which kind this one is. */
static bool add_range(splitter *p, size_t begin, size_t end, bool match)
{
    match = match != p->how->invert;
    bool join = false;
    switch (p->how->behavior) {
    case PRE_ISOLATED:
        return pass_on(p, begin, end);
    case PRE_REMOVED:
        return match || pass_on(p, begin, end);
    case PRE_WITH_PREVIOUS:
        join = match && !p->held_match;
        break;
    case PRE_WITH_NEXT:
        join = !match && p->held_match;
        break;
    case PRE_CONTIGUOUS:
        join = match == p->held_match;
        break;
    }
    if (p->held && join) {
        p->held_end = end;
        p->held_match = match;
        return true;
    }
    return flush(p) && hold(p, begin, end, match);
}

static int find_class(const pre_step *p, const char *s, size_t n, size_t from, size_t *b, size_t *e)
{
    while (from < n) {
        uint32_t cp;
        size_t k = uni_next(s + from, n - from, &cp);
        if (p->is(cp)) {
            *b = from;
            *e = from + k;
            return 1;
        }
        from += k;
    }
    return 0;
}

static int find_literal(const pre_step *p, const char *s, size_t n, size_t from, size_t *b,
                        size_t *e)
{
    const char *at = memmem(s + from, n - from, p->text.data, p->text.len);
    if (!at)
        return 0;
    *b = (size_t)(at - s);
    *e = *b + p->text.len;
    return 1;
}

static int find_length(const pre_step *p, const char *s, size_t n, size_t from, size_t *b,
                       size_t *e)
{
    if (from == n)
        return 0;
    *b = from;
    uint32_t cp;
    for (size_t i = 0; i < p->count && from < n; i++)
        from += uni_next(s + from, n - from, &cp);
    *e = from;
    return 1;
}

static int find(const run *r, const pre_step *p, const char *s, size_t n, size_t from, size_t *b,
                size_t *e)
{
    switch (p->kind) {
    case PRE_REGEX:
        return rx_find(r->rx, p->regex, s, n, from, b, e);
    case PRE_LITERAL:
        return find_literal(p, s, n, from, b, e);
    case PRE_CLASS:
        return find_class(p, s, n, from, b, e);
    default:
        return find_length(p, s, n, from, b, e);
    }
}

static bool split(run *r, size_t step, const char *s, size_t n, bool at_start)
{
    const pre_step *how = &r->list->steps.at[step];
    splitter p = {.run = r, .step = step, .how = how, .s = s, .at_start = at_start};
    size_t done = 0, from = 0, b, e;
    bool any = false;
    while (from <= n) {
        int found = find(r, how, s, n, from, &b, &e);
        if (found < 0)
            return false;
        if (!found)
            break;
        bool empty = b == e;
        bool again =
            empty && any && b == done; /* right behind the last match: not one of its own */
        if (!again) {
            if (b > done && !add_range(&p, done, b, false))
                return false;
            if (!add_range(&p, b, e, true))
                return false;
            done = e;
            any = true;
        }
        uint32_t cp;
        from = empty ? (e < n ? e + uni_next(s + e, n - e, &cp) : n + 1) : e;
    }
    if (done < n && !add_range(&p, done, n, false))
        return false;
    return flush(&p);
}

/* ---- rewriting ---- */

static bool rewrite(run *r, size_t step, const char *s, size_t n, bool at_start)
{
    const pre_step *p = &r->list->steps.at[step];
    nx_str out = {0};
    nx_str_reserve(&out, n + 8);
    if (p->kind == PRE_BYTES) {
        uni_put_byte_chars(&out, s, n);
    } else if (p->kind == PRE_PREFIX_SPACE) {
        nx_str_putc(&out, ' ');
        nx_str_add(&out, s, n);
    } else {
        size_t k = p->text.len;
        bool has = n >= k && memcmp(s, p->text.data, k) == 0;
        if (!has && *s != ' ' &&
            (p->prepend == PRE_PREPEND_ALWAYS || (p->prepend == PRE_PREPEND_FIRST && at_start)))
            nx_str_add(&out, p->text.data, k);
        for (size_t i = 0; i < n; i++)
            if (s[i] == ' ')
                nx_str_add(&out, p->text.data, k);
            else
                nx_str_putc(&out, s[i]);
    }
    bool ok = run_step(r, step + 1, out.data, out.len, at_start);
    nx_str_clear(&out);
    return ok;
}

static bool run_step(run *r, size_t step, const char *s, size_t n, bool at_start)
{
    const pre_list *l = r->list;
    if (step == l->steps.n || (l->plain_bytes && step + 1 == l->steps.n))
        return r->sink(r->user, s, n);
    switch (l->steps.at[step].kind) {
    case PRE_PREFIX_SPACE:
        if (*s == ' ')
            return run_step(r, step + 1, s, n, at_start);
        return rewrite(r, step, s, n, at_start);
    case PRE_METASPACE:
    case PRE_BYTES:
        return rewrite(r, step, s, n, at_start);
    default:
        return split(r, step, s, n, at_start);
    }
}

bool pre_run(const pre_list *l, rx_state *rx, const char *text, size_t n, bool at_start,
             pre_sink *sink, void *user)
{
    run r = {.list = l, .rx = rx, .sink = sink, .user = user};
    return n == 0 || run_step(&r, 0, text, n, at_start);
}
