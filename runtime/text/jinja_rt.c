/*
 * jinja_rt.c: a render from its start to its end, its limits, and the text builder.
 */
#include "runtime/text/jinja_rt.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

bool jinja_fail(jinja_rt *rt, const char *fmt, ...)
{
    nx_str text = {0};
    va_list ap;
    va_start(ap, fmt);
    nx_str_vprintf(&text, fmt, ap);
    va_end(ap);
    nx_fail("[template] line %d: %s", rt->line, nx_str_cstr(&text));
    nx_str_clear(&text);
    return false;
}

bool jinja_charge(jinja_rt *rt, uint64_t steps)
{
    rt->steps += steps;
    if (rt->steps > rt->opt.max_steps)
        return jinja_fail(rt, "the template runs for more than %llu steps",
                          (unsigned long long)rt->opt.max_steps);
    if (rt->arena.total > rt->opt.max_memory)
        return jinja_fail(rt, "the template needs more than %zu bytes of memory",
                          rt->opt.max_memory);
    return true;
}

bool jinja_enter(jinja_rt *rt)
{
    if (rt->depth >= rt->opt.max_depth)
        return jinja_fail(rt, "calls, statements or values are nested deeper than %d levels",
                          rt->opt.max_depth);
    rt->depth++;
    return true;
}

bool jinja_room(jinja_rt *rt, size_t bytes)
{
    if (bytes > rt->opt.max_memory || rt->arena.total > rt->opt.max_memory - bytes)
        return jinja_fail(rt, "the template needs more than %zu bytes of memory",
                          rt->opt.max_memory);
    return true;
}

void *jinja_alloc(jinja_rt *rt, size_t bytes)
{
    return nx_arena_calloc(&rt->arena, bytes);
}

/* --- text --- */

void jinja_sb_init(jinja_sb *b, jinja_rt *rt)
{
    *b = (jinja_sb){.rt = rt};
}

void jinja_sb_add(jinja_sb *b, const char *s, size_t n)
{
    if (b->failed || !n)
        return;
    if (n > b->rt->opt.max_output || b->len > b->rt->opt.max_output - n) {
        b->failed = true;
        jinja_fail(b->rt, "the template writes more than %zu bytes", b->rt->opt.max_output);
        return;
    }
    if (b->len + n > b->cap) {
        size_t cap = b->cap ? b->cap * 2 : 64;
        while (cap < b->len + n)
            cap *= 2;
        if (!jinja_room(b->rt, cap) || !jinja_charge_bytes(b->rt, cap)) {
            b->failed = true;
            return;
        }
        char *data = nx_arena_alloc(&b->rt->arena, cap);
        if (b->len)
            memcpy(data, b->data, b->len);
        b->data = data;
        b->cap = cap;
    }
    memcpy(b->data + b->len, s, n);
    b->len += n;
}

void jinja_sb_puts(jinja_sb *b, const char *s)
{
    jinja_sb_add(b, s, strlen(s));
}

void jinja_sb_putc(jinja_sb *b, char c)
{
    jinja_sb_add(b, &c, 1);
}

void jinja_sb_cp(jinja_sb *b, uint32_t cp)
{
    char s[4];
    if (cp < 0x80) {
        jinja_sb_putc(b, (char)cp);
    } else if (cp < 0x800) {
        s[0] = (char)(0xC0 | cp >> 6);
        s[1] = (char)(0x80 | (cp & 63));
        jinja_sb_add(b, s, 2);
    } else if (cp < 0x10000) {
        s[0] = (char)(0xE0 | cp >> 12);
        s[1] = (char)(0x80 | (cp >> 6 & 63));
        s[2] = (char)(0x80 | (cp & 63));
        jinja_sb_add(b, s, 3);
    } else {
        s[0] = (char)(0xF0 | cp >> 18);
        s[1] = (char)(0x80 | (cp >> 12 & 63));
        s[2] = (char)(0x80 | (cp >> 6 & 63));
        s[3] = (char)(0x80 | (cp & 63));
        jinja_sb_add(b, s, 4);
    }
}

void jinja_sb_repeat(jinja_sb *b, const char *s, size_t n, int64_t times)
{
    for (int64_t i = 0; i < times && !b->failed && n; i++)
        jinja_sb_add(b, s, n);
}

bool jinja_sb_done(jinja_sb *b, jval *out)
{
    if (b->failed)
        return false;
    *out = jinja_of_str(jinja_str_new(b->rt, b->data, b->len));
    return jinja_charge_bytes(b->rt, b->len);
}

/* --- a render --- */

jinja_options jinja_options_default(void)
{
    return (jinja_options){.max_steps = 20 * 1000 * 1000,
                           .max_memory = (size_t)256 << 20,
                           .max_output = (size_t)64 << 20,
                           .max_depth = 1500};
}

/* Fills the root scope: what the caller gives, then the builtin functions. Names that the template
 * does not read are left alone. */
static bool bind_globals(jinja_rt *rt, json_t *vars)
{
    const nx_map *names = &rt->tpl->names;
    for (size_t i = 0; i < names->n; i++) {
        const nx_map_entry *e = &names->entries[i];
        json_t *v = vars ? json_object_get(vars, e->key) : NULL;
        const jinja_builtin *f = jinja_find(jinja_globals, e->key, e->key_len);
        if (v && !jinja_from_json(rt, v, &rt->globals->root[i]))
            return false;
        if (!v && f)
            rt->globals->root[i] = (jval){.t = JINJA_FUNC, .func = f};
    }
    return true;
}

bool jinja_render(const jinja_template *t, json_t *vars, const jinja_options *options, nx_str *out)
{
    jinja_rt rt = {.tpl = t, .opt = options ? *options : jinja_options_default(), .line = 1};
    jinja_sb text;
    jinja_sb_init(&text, &rt);
    rt.out = &text;
    rt.globals = jinja_env_new(&rt, NULL);
    rt.globals->root = jinja_alloc(&rt, (t->n_atoms + 1) * sizeof(jval));
    bool ok = bind_globals(&rt, vars) && jinja_exec_all(&rt, &t->body, rt.globals) && !text.failed;
    if (ok)
        nx_str_add(out, text.data, text.len);
    nx_arena_clear(&rt.arena);
    return ok;
}
