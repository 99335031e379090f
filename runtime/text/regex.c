#include "runtime/text/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/error.h"

struct rx_pattern {
    pcre2_code *code;
    bool jit;
};

struct rx_state {
    pcre2_match_data *match;
    pcre2_match_context *context;
    pcre2_jit_stack *stack;
};

/* The JIT's stack grows from the first to the second; a text that needs more is matched again by
 * the interpreter, which keeps its state on the heap. */
enum { JIT_STACK_MIN = 32 << 10, JIT_STACK_MAX = 8 << 20 };
/* KiB that one match may take on the heap, and steps that it may take. */
enum { HEAP_LIMIT = 256 << 10, MATCH_LIMIT = 20000000 };

rx_pattern *rx_compile(nx_slice pattern)
{
    nx_str text = {0};
    if (!rx_translate(&text, pattern)) {
        nx_str_clear(&text);
        return NULL;
    }
    pcre2_compile_context *cc = pcre2_compile_context_create(NULL);
    if (!cc)
        nx_die_nomem(sizeof(void *));
    pcre2_set_newline(cc, PCRE2_NEWLINE_LF);
    int code;
    PCRE2_SIZE at;
    pcre2_code *c = pcre2_compile((PCRE2_SPTR)nx_str_cstr(&text), text.len,
                                  PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE, &code, &at, cc);
    pcre2_compile_context_free(cc);
    nx_str_clear(&text);
    if (!c) {
        char why[128] = "";
        pcre2_get_error_message(code, (PCRE2_UCHAR *)why, sizeof why);
        return nx_fail_null("[tokenizer] the pattern \"%.*s\" cannot be compiled: %s",
                            (int)(pattern.len < 300 ? pattern.len : 300), pattern.data, why);
    }
    rx_pattern *r = nx_malloc(sizeof *r);
    *r = (rx_pattern){c, pcre2_jit_compile(c, PCRE2_JIT_COMPLETE) == 0};
    return r;
}

void rx_free(rx_pattern *r)
{
    if (!r)
        return;
    pcre2_code_free(r->code);
    free(r);
}

rx_state *rx_state_new(void)
{
    rx_state *s = nx_calloc(1, sizeof *s);
    s->match = pcre2_match_data_create(1, NULL);
    s->context = pcre2_match_context_create(NULL);
    s->stack = pcre2_jit_stack_create(JIT_STACK_MIN, JIT_STACK_MAX, NULL);
    if (!s->match || !s->context)
        nx_die_nomem(sizeof *s);
    if (s->stack) /* NULL where PCRE2 was built without the JIT */
        pcre2_jit_stack_assign(s->context, NULL, s->stack);
    pcre2_set_heap_limit(s->context, HEAP_LIMIT);
    pcre2_set_match_limit(s->context, MATCH_LIMIT);
    return s;
}

void rx_state_free(rx_state *s)
{
    if (!s)
        return;
    pcre2_match_data_free(s->match);
    pcre2_match_context_free(s->context);
    pcre2_jit_stack_free(s->stack);
    free(s);
}

int rx_find(rx_state *s, const rx_pattern *r, const char *text, size_t len, size_t from,
            size_t *begin, size_t *end)
{
    PCRE2_SPTR t = (PCRE2_SPTR)text;
    int rc = PCRE2_ERROR_JIT_STACKLIMIT;
    if (r->jit)
        rc = pcre2_jit_match(r->code, t, len, from, 0, s->match, s->context);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT)
        rc = pcre2_match(r->code, t, len, from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, s->match,
                         s->context);
    if (rc == PCRE2_ERROR_NOMATCH)
        return 0;
    if (rc < 0) {
        char why[128] = "";
        pcre2_get_error_message(rc, (PCRE2_UCHAR *)why, sizeof why);
        nx_fail("[tokenizer] a pattern gave up on the text at byte %zu: %s", from, why);
        return -1;
    }
    const PCRE2_SIZE *range = pcre2_get_ovector_pointer(s->match);
    *begin = range[0];
    *end = range[1];
    NX_BUG_IF(*begin < from || *end < *begin); /* only \K could: it is refused */
    return 1;
}
