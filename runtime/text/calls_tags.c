/*
 * calls_tags.c: calls written as tags. Families differ in words, prefixes and suffixes; what a tag
 * does follows from the word in it:
 *
 *     opens a call       function, invoke, call (its name is an attribute); tool_call (it follows)
 *     holds a value      parameter, param, argument (its key is an attribute)
 *     holds a key        arg_key, and arg_value its value
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/str.h"
#include "runtime/text/calls.h"

typedef enum { TAG_OTHER, TAG_CALL, TAG_NAMELESS, TAG_VALUE, TAG_KEY, TAG_KEYS_VALUE } tag_kind;

typedef struct {
    tag_kind kind;
    bool closing;
    const char *head, *attributes, *after; /* head: the word with prefix and suffix */
    size_t head_length, attributes_length;
} tag;

static tag_kind kind_of_word(const char *word, size_t n)
{
    static const struct {
        const char *word;
        tag_kind kind;
    } words[] = {{"function", TAG_CALL},   {"invoke", TAG_CALL},     {"call", TAG_CALL},
                 {"tool_call", TAG_NAMELESS}, {"parameter", TAG_VALUE}, {"param", TAG_VALUE},
                 {"argument", TAG_VALUE},  {"arg_key", TAG_KEY},     {"arg_value", TAG_KEYS_VALUE}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strlen(words[i].word) == n && memcmp(words[i].word, word, n) == 0)
            return words[i].kind;
    return TAG_OTHER;
}

/* "parameter", "minimax:parameter", "｜DSML｜parameter", "arg_key:opensource" */
static tag_kind kind_of_head(const char *head, size_t n)
{
    static const char bar[] = "｜";
    for (size_t i = 0; i + sizeof bar - 1 < n; i++)
        if (memcmp(head + i, bar, sizeof bar - 1) == 0) {
            head += i + sizeof bar - 1;
            n -= i + sizeof bar - 1;
            i = (size_t)-1;
        }
    const char *colon = memchr(head, ':', n);
    tag_kind kind = kind_of_word(head, colon ? (size_t)(colon - head) : n);
    if (kind == TAG_OTHER && colon)
        kind = kind_of_word(colon + 1, n - (size_t)(colon + 1 - head));
    return kind;
}

/* The next tag at or after `text`. False when there is none. */
static bool next_tag(const char *text, tag *t)
{
    const char *open = strchr(text, '<'), *end = open ? strchr(open, '>') : NULL;
    if (!end)
        return false;
    const char *p = open + 1;
    *t = (tag){.closing = *p == '/', .after = end + 1};
    t->head = p + t->closing;
    t->head_length = strcspn(t->head, " =>\n");
    t->attributes = t->head + t->head_length;
    t->attributes_length = (size_t)(end - t->attributes);
    t->kind = kind_of_head(t->head, t->head_length);
    return true;
}

/* =NAME, or name="NAME", tool="NAME", key="NAME". NULL where there is none. */
static char *attribute(const tag *t)
{
    static const char *const names[] = {" name=\"", " tool=\"", " key=\""};
    const char *end = t->attributes + t->attributes_length;
    if (*t->attributes == '=')
        return nx_strndup(t->attributes + 1, t->attributes_length - 1);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *p = strstr(t->attributes, names[i]);
        const char *from = p ? p + strlen(names[i]) : NULL, *to = from ? strchr(from, '"') : NULL;
        if (to && to < end)
            return nx_strndup(from, (size_t)(to - from));
    }
    return NULL;
}

static bool says(const tag *t, const char *words)
{
    const char *p = strstr(t->attributes, words);
    return p && p < t->attributes + t->attributes_length;
}

/* Where "</HEAD>" stands, NULL if nowhere. */
static const char *closing(const tag *t)
{
    nx_str mark = {0};
    nx_str_puts(&mark, "</");
    nx_str_add(&mark, t->head, t->head_length);
    nx_str_putc(&mark, '>');
    const char *at = strstr(t->after, nx_str_cstr(&mark));
    nx_str_clear(&mark);
    return at;
}

static char *trimmed(const char *from, const char *to)
{
    while (from < to && isspace((unsigned char)*from))
        from++;
    while (to > from && isspace((unsigned char)to[-1]))
        to--;
    return nx_strndup(from, (size_t)(to - from));
}

typedef struct {
    calls_reader *r;
    char *name, *key;
    json_t *arguments;
    const char *body; /* what follows the tag that opened the call */
} tag_call;

/* A word alone is a call only if there is such a tool. */
static bool is_call(const tag_call *c)
{
    return c->name && calls_known(c->r, c->name) &&
           (c->body || c->r->tools || json_object_size(c->arguments));
}

/* A body without tags may be the arguments as JSON. */
static void end_call(tag_call *c, const char *end)
{
    if (is_call(c)) {
        char *body = c->body && c->body < end ? trimmed(c->body, end) : nx_strdup("");
        json_t *whole = json_object_size(c->arguments) || *body != '{' /* an object, or nothing */
                            ? NULL : json_loadb(body, strlen(body), JSON_DISABLE_EOF_CHECK, NULL);
        calls_tell(c->r, c->name, whole ? whole : json_incref(c->arguments));
        free(body);
    }
    free(c->name);
    free(c->key);
    json_decref(c->arguments);
    c->name = c->key = NULL;
    c->arguments = NULL;
}

static void begin_call(tag_call *c, char *name, const char *body)
{
    c->name = name;
    c->arguments = json_object();
    c->body = body;
}

/* One line's end on each side belongs to the tags; so does CDATA. */
static json_t *value_of(const tag_call *c, const tag *t, const char *key, const char *from,
                        const char *to)
{
    static const char cdata[] = "<![CDATA[", ends[] = "]]>";
    if (from < to && *from == '\n')
        from++;
    if (to > from && to[-1] == '\n')
        to--;
    size_t n = (size_t)(to - from);
    if (n >= 12 && memcmp(from, cdata, 9) == 0 && memcmp(to - 3, ends, 3) == 0)
        return json_stringn(from + 9, n - 12);
    if (says(t, "string=\"true\"") || says(t, "type=\"string\""))
        return json_stringn(from, n);
    return calls_value(c->r, c->name, key, from, n);
}

/* A tag that holds a key or a value: the text after it. */
static const char *take_held(tag_call *c, const tag *t)
{
    const char *end = closing(t);
    if (!end || !c->name)
        return t->after;
    if (t->kind == TAG_KEY) {
        free(c->key);
        c->key = trimmed(t->after, end);
    } else {
        char *key = t->kind == TAG_VALUE ? attribute(t) : c->key;
        if (t->kind == TAG_KEYS_VALUE)
            c->key = NULL;
        if (key)
            json_object_set_new(c->arguments, key, value_of(c, t, key, t->after, end));
        free(key);
    }
    const char *after = strchr(end, '>');
    return after ? after + 1 : end;
}

/* In the words of one family whose tags are tokens: <|open|>call tool="f"<|sep|>…<|close|>call<|sep|> */
static char *with_plain_tags(const char *text)
{
    static const char *const from[] = {"<|open|>", "<|close|>", "<|sep|>"}, *const to[] = {"<", "</", ">"};
    nx_str out = {0};
    while (*text) {
        size_t i = 0;
        while (i < 3 && strncmp(text, from[i], strlen(from[i])) != 0)
            i++;
        if (i < 3)
            nx_str_puts(&out, to[i]), text += strlen(from[i]);
        else
            nx_str_putc(&out, *text++);
    }
    return nx_str_take(&out);
}

bool calls_read_tags(calls_reader *r, const char *written)
{
    char *text = with_plain_tags(written);
    size_t before = r->count;
    tag_call c = {.r = r};
    tag t;
    const char *p = text, *open = strchr(text, '<');
    if (*text && open != text) /* "NAME\n<arg_key>…" */
        begin_call(&c, trimmed(text, open ? open : text + strlen(text)), NULL);
    while (next_tag(p, &t)) {
        const char *tag_at = strchr(p, '<');
        p = t.after;
        if (t.closing && (t.kind == TAG_CALL || t.kind == TAG_NAMELESS)) {
            end_call(&c, tag_at);
        } else if (t.closing) {
            continue;
        } else if (t.kind == TAG_CALL || t.kind == TAG_NAMELESS) {
            end_call(&c, tag_at);
            const char *stop = p + strcspn(p, "<");
            char *name = t.kind == TAG_CALL ? attribute(&t) : trimmed(p, stop);
            begin_call(&c, name, t.kind == TAG_CALL ? p : NULL);
        } else if (t.kind != TAG_OTHER) {
            p = take_held(&c, &t);
        }
    }
    end_call(&c, text + strlen(text));
    free(text);
    return r->count > before;
}
