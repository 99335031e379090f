/*
 * jinja_methods.c: the methods of strings, lists, tuples and dictionaries, a row each. A row
 * without a function is one that changes its object, which the sandbox forbids.
 */
#include <string.h>

#include "runtime/text/jinja_rt.h"

#define METHOD(name) static bool name(jinja_rt *rt, jval self, const jinja_args *a, jval *out)

/* --- case and classes --- */

static bool change_case(jinja_rt *rt, jval self, jinja_case how, jval *out)
{
    jinja_sb b;
    jinja_sb_init(&b, rt);
    jinja_put_case(&b, self.s, how);
    return jinja_sb_done(&b, out);
}

METHOD(str_upper)
{
    return change_case(rt, self, JINJA_UPPER, out);
}
METHOD(str_lower)
{
    return change_case(rt, self, JINJA_LOWER, out);
}
METHOD(str_title)
{
    return change_case(rt, self, JINJA_TITLE, out);
}
METHOD(str_capitalize)
{
    return change_case(rt, self, JINJA_CAPITALIZE, out);
}
METHOD(str_swapcase)
{
    return change_case(rt, self, JINJA_SWAP, out);
}

/* Is there a character, and are all of them of the class? */
static bool all_are(jinja_rt *rt, const jinja_str *s, bool (*is)(uint32_t), jval *out)
{
    uint32_t cp;
    size_t i = 0, n;
    while ((n = jinja_utf8_next(s->s + i, s->len - i, &cp)) && is(cp))
        i += n;
    *out = jinja_bool(s->len && i >= s->len);
    return jinja_charge_bytes(rt, s->len);
}

static bool is_alnum(uint32_t cp)
{
    return jinja_is_alpha(cp) || jinja_is_numeric(cp);
}
static bool is_ascii(uint32_t cp)
{
    return cp < 0x80;
}

METHOD(str_isalpha)
{
    return all_are(rt, self.s, jinja_is_alpha, out);
}
METHOD(str_isalnum)
{
    return all_are(rt, self.s, is_alnum, out);
}
METHOD(str_isdigit)
{
    return all_are(rt, self.s, jinja_is_digit, out);
}
METHOD(str_isnumeric)
{
    return all_are(rt, self.s, jinja_is_numeric, out);
}
METHOD(str_isspace)
{
    return all_are(rt, self.s, jinja_is_space, out);
}
METHOD(str_isprintable)
{
    if (!all_are(rt, self.s, jinja_is_printable, out))
        return false;
    out->b |= !self.s->len;
    return true;
}
METHOD(str_isascii)
{
    if (!all_are(rt, self.s, is_ascii, out))
        return false;
    out->b |= !self.s->len;
    return true;
}
METHOD(str_islower)
{
    return jinja_test_by_name(rt, jinja_text(rt, "lower").s, self, a, &out->b) &&
           (out->t = JINJA_BOOL);
}
METHOD(str_isupper)
{
    return jinja_test_by_name(rt, jinja_text(rt, "upper").s, self, a, &out->b) &&
           (out->t = JINJA_BOOL);
}

/* --- stripping --- */

static bool strips(uint32_t cp, const jinja_str *chars)
{
    if (!chars)
        return jinja_is_space(cp);
    uint32_t c;
    for (size_t i = 0, n; (n = jinja_utf8_next(chars->s + i, chars->len - i, &c)); i += n)
        if (c == cp)
            return true;
    return false;
}

static bool strip(jinja_rt *rt, jval self, const jinja_args *a, bool left, bool right, jval *out)
{
    const jinja_str *s = self.s, *chars = NULL;
    size_t from = 0, to = s->len, n;
    uint32_t cp;
    if (jinja_given(a, 0) && a->pos[0].t != JINJA_NONE && !jinja_arg_str(rt, a, 0, &chars))
        return false;
    if (!jinja_charge(rt, (s->len / 64 + 1) * (chars ? chars->len + 1 : 1)))
        return false;
    while (left && from < to && (n = jinja_utf8_next(s->s + from, to - from, &cp)) &&
           strips(cp, chars))
        from += n;
    while (right && to > from) {
        size_t start = to - 1;
        while (start > from && ((unsigned char)s->s[start] & 0xC0) == 0x80)
            start--;
        jinja_utf8_next(s->s + start, to - start, &cp);
        if (!strips(cp, chars))
            break;
        to = start;
    }
    *out = jinja_str_sub(rt, s, from, to);
    return true;
}

METHOD(str_strip)
{
    return strip(rt, self, a, true, true, out);
}
METHOD(str_lstrip)
{
    return strip(rt, self, a, true, false, out);
}
METHOD(str_rstrip)
{
    return strip(rt, self, a, false, true, out);
}

static bool has_prefix(const jinja_str *s, const jinja_str *p)
{
    return s->len >= p->len && memcmp(s->s, p->s, p->len) == 0;
}
static bool has_suffix(const jinja_str *s, const jinja_str *p)
{
    return s->len >= p->len && memcmp(s->s + s->len - p->len, p->s, p->len) == 0;
}

METHOD(str_removeprefix)
{
    const jinja_str *p;
    if (!jinja_arg_str(rt, a, 0, &p))
        return false;
    *out = jinja_str_sub(rt, self.s, has_prefix(self.s, p) ? p->len : 0, self.s->len);
    return true;
}
METHOD(str_removesuffix)
{
    const jinja_str *p;
    if (!jinja_arg_str(rt, a, 0, &p))
        return false;
    *out = jinja_str_sub(rt, self.s, 0, self.s->len - (has_suffix(self.s, p) ? p->len : 0));
    return true;
}

/* --- searching --- */

/* Narrows a string to the code points [start, end) that arguments i and i + 1 give. */
static bool window(jinja_rt *rt, jval self, const jinja_args *a, size_t i, jval *out,
                   int64_t *start)
{
    jval from = jinja_given(a, i) ? a->pos[i] : jinja_none();
    jval to = jinja_given(a, i + 1) ? a->pos[i + 1] : jinja_none();
    int64_t n = (int64_t)self.s->n;
    *start = from.t == JINJA_INT || from.t == JINJA_BOOL ? jinja_as_int(from) : 0;
    if (*start < 0)
        *start = *start + n < 0 ? 0 : *start + n;
    return jinja_slice(rt, self, from, to, jinja_none(), out);
}

/* Does the string begin (end) with one of the given? */
static bool affix(jinja_rt *rt, jval self, const jinja_args *a, bool suffix, jval *out)
{
    jval w, one = a->pos[0];
    int64_t start;
    if (!window(rt, self, a, 1, &w, &start))
        return false;
    jinja_seq single = {.n = 1, .at = &one};
    const jinja_seq *s = one.t == JINJA_TUPLE ? one.seq : &single;
    *out = jinja_bool(false);
    for (size_t i = 0; i < s->n && !out->b; i++) {
        if (s->at[i].t != JINJA_STR)
            return jinja_fail(rt, "%s needs a string or a tuple of strings, not '%s'",
                              suffix ? "endswith" : "startswith", jinja_type_name(s->at[i]));
        if (!jinja_charge_bytes(rt, s->at[i].s->len))
            return false;
        out->b = (suffix ? has_suffix : has_prefix)(w.s, s->at[i].s) && start <= (int64_t)self.s->n;
    }
    return true;
}

METHOD(str_startswith)
{
    return affix(rt, self, a, false, out);
}
METHOD(str_endswith)
{
    return affix(rt, self, a, true, out);
}

static const char *find_last(const char *s, size_t len, const jinja_str *what)
{
    for (size_t i = len - what->len + 1; what->len <= len && i-- > 0;)
        if (memcmp(s + i, what->s, what->len) == 0)
            return s + i;
    return NULL;
}

static bool find_index(jinja_rt *rt, jval self, const jinja_args *a, bool last, bool must,
                       jval *out)
{
    const jinja_str *what;
    jval w;
    int64_t start;
    if (!jinja_arg_str(rt, a, 0, &what) || !window(rt, self, a, 1, &w, &start) ||
        !jinja_charge(rt, (w.s->len / 64 + 1) * (last ? what->len / 16 + 1 : 1)))
        return false;
    const char *at = last        ? find_last(w.s->s, w.s->len, what)
                     : what->len ? memmem(w.s->s, w.s->len, what->s, what->len)
                                 : w.s->s;
    if (start > (int64_t)self.s->n)
        at = NULL;
    if (!at && must)
        return jinja_fail(rt, "substring not found");
    *out = jinja_int(at ? start + (int64_t)jinja_utf8_count(w.s->s, (size_t)(at - w.s->s)) : -1);
    return true;
}

METHOD(str_find)
{
    return find_index(rt, self, a, false, false, out);
}
METHOD(str_rfind)
{
    return find_index(rt, self, a, true, false, out);
}
METHOD(str_index)
{
    return find_index(rt, self, a, false, true, out);
}
METHOD(str_rindex)
{
    return find_index(rt, self, a, true, true, out);
}

METHOD(str_count)
{
    const jinja_str *what;
    jval w;
    int64_t start, n = 0;
    if (!jinja_arg_str(rt, a, 0, &what) || !window(rt, self, a, 1, &w, &start) ||
        !jinja_charge_bytes(rt, w.s->len))
        return false;
    if (!what->len)
        n = start > (int64_t)self.s->n ? 0 : (int64_t)w.s->n + 1;
    const char *p = w.s->s, *end = p + w.s->len;
    while (what->len && (p = memmem(p, (size_t)(end - p), what->s, what->len))) {
        p += what->len;
        n++;
    }
    *out = jinja_int(n);
    return true;
}

/* An empty text is found before every character and at the end. */
static void replace_empty(jinja_sb *b, const jinja_str *s, const jinja_str *with, int64_t max)
{
    size_t i = 0, n;
    uint32_t cp;
    for (;; i += n) {
        if (max-- != 0)
            jinja_sb_add(b, with->s, with->len);
        else
            max = 0;
        n = jinja_utf8_next(s->s + i, s->len - i, &cp);
        if (!n || b->failed)
            return;
        jinja_sb_add(b, s->s + i, n);
    }
}

METHOD(str_replace)
{
    const jinja_str *what, *with, *s = self.s;
    int64_t max;
    jinja_sb b;
    if (!jinja_arg_str(rt, a, 0, &what) || !jinja_arg_str(rt, a, 1, &with) ||
        !jinja_arg_int(rt, a, 2, -1, &max) || !jinja_charge_bytes(rt, s->len))
        return false;
    jinja_sb_init(&b, rt);
    if (!what->len) {
        replace_empty(&b, s, with, max);
        return jinja_sb_done(&b, out);
    }
    const char *p = s->s, *end = p + s->len, *at;
    while (max-- != 0 && (at = memmem(p, (size_t)(end - p), what->s, what->len))) {
        jinja_sb_add(&b, p, (size_t)(at - p));
        jinja_sb_add(&b, with->s, with->len);
        p = at + what->len;
    }
    jinja_sb_add(&b, p, (size_t)(end - p));
    return jinja_sb_done(&b, out);
}

/* --- splitting and joining --- */

static bool push_part(jinja_rt *rt, jinja_seq *parts, const jinja_str *s, size_t from, size_t to)
{
    return jinja_charge(rt, 1) && jinja_seq_push(rt, parts, jinja_str_sub(rt, s, from, to));
}

static bool split_spaces(jinja_rt *rt, const jinja_str *s, int64_t max, jinja_seq *parts)
{
    size_t i = 0, n, start;
    uint32_t cp;
    for (;;) {
        while ((n = jinja_utf8_next(s->s + i, s->len - i, &cp)) && jinja_is_space(cp))
            i += n;
        if (!n)
            return true;
        start = i;
        if (max-- == 0)
            return push_part(rt, parts, s, start, s->len);
        while ((n = jinja_utf8_next(s->s + i, s->len - i, &cp)) && !jinja_is_space(cp))
            i += n;
        if (!push_part(rt, parts, s, start, i))
            return false;
    }
}

static bool split_sep(jinja_rt *rt, const jinja_str *s, const jinja_str *sep, int64_t max,
                      jinja_seq *parts)
{
    size_t from = 0;
    const char *at;
    while (max-- != 0 && (at = memmem(s->s + from, s->len - from, sep->s, sep->len))) {
        if (!push_part(rt, parts, s, from, (size_t)(at - s->s)))
            return false;
        from = (size_t)(at - s->s) + sep->len;
    }
    return push_part(rt, parts, s, from, s->len);
}

/* rsplit: parts from the end, in reverse until they are turned round. */
static bool split_right(jinja_rt *rt, const jinja_str *s, const jinja_str *sep, int64_t max,
                        jinja_seq *parts)
{
    size_t to = s->len;
    const char *at;
    while (max-- != 0 && (at = find_last(s->s, to, sep))) {
        if (!push_part(rt, parts, s, (size_t)(at - s->s) + sep->len, to))
            return false;
        to = (size_t)(at - s->s);
    }
    return push_part(rt, parts, s, 0, to);
}

static size_t char_before(const jinja_str *s, size_t to, uint32_t *cp)
{
    size_t start = to;
    while (start > 0 && ((unsigned char)s->s[--start] & 0xC0) == 0x80)
        ;
    return jinja_utf8_next(s->s + start, to - start, cp);
}

static bool split_right_spaces(jinja_rt *rt, const jinja_str *s, int64_t max, jinja_seq *parts)
{
    size_t to = s->len, n, end;
    uint32_t cp;
    for (;;) {
        while ((n = char_before(s, to, &cp)) && jinja_is_space(cp))
            to -= n;
        if (!n)
            return true;
        end = to;
        if (max-- == 0)
            return push_part(rt, parts, s, 0, end);
        while ((n = char_before(s, to, &cp)) && !jinja_is_space(cp))
            to -= n;
        if (!push_part(rt, parts, s, to, end))
            return false;
    }
}

static void turn_round(jinja_seq *s)
{
    for (size_t i = 0; i < s->n / 2; i++) {
        jval t = s->at[i];
        s->at[i] = s->at[s->n - 1 - i];
        s->at[s->n - 1 - i] = t;
    }
}

static bool split(jinja_rt *rt, jval self, const jinja_args *a, bool right, jval *out)
{
    const jinja_str *sep = NULL;
    int64_t max;
    jinja_seq *parts = jinja_seq_new(rt, 0);
    bool spaces = !jinja_given(a, 0) || a->pos[0].t == JINJA_NONE;
    if ((!spaces && !jinja_arg_str(rt, a, 0, &sep)) || !jinja_arg_int(rt, a, 1, -1, &max) ||
        !jinja_charge_bytes(rt, self.s->len))
        return false;
    if (!spaces && !sep->len)
        return jinja_fail(rt, "split() needs a separator that is not empty");
    bool ok = spaces ? (right ? split_right_spaces : split_spaces)(rt, self.s, max, parts)
                     : (right ? split_right : split_sep)(rt, self.s, sep, max, parts);
    if (right)
        turn_round(parts);
    *out = jinja_list(parts);
    return ok;
}

METHOD(str_split)
{
    return split(rt, self, a, false, out);
}
METHOD(str_rsplit)
{
    return split(rt, self, a, true, out);
}

METHOD(str_splitlines)
{
    const jinja_str *s = self.s;
    bool keep = jinja_given(a, 0) && jinja_truth(rt, a->pos[0]);
    jinja_seq *parts = jinja_seq_new(rt, 0);
    size_t from = 0, i = 0, n;
    uint32_t cp;
    while ((n = jinja_utf8_next(s->s + i, s->len - i, &cp))) {
        size_t next = i + n;
        if (!jinja_is_line_break(cp)) {
            i = next;
            continue;
        }
        if (cp == '\r' && next < s->len && s->s[next] == '\n')
            next++;
        if (!push_part(rt, parts, s, from, keep ? next : i))
            return false;
        from = i = next;
    }
    if (from < s->len && !push_part(rt, parts, s, from, s->len))
        return false;
    *out = jinja_list(parts);
    return jinja_charge_bytes(rt, s->len);
}

static bool partition(jinja_rt *rt, jval self, const jinja_args *a, bool right, jval *out)
{
    const jinja_str *sep, *s = self.s;
    if (!jinja_arg_str(rt, a, 0, &sep) || !jinja_charge_bytes(rt, s->len))
        return false;
    if (!sep->len)
        return jinja_fail(rt, "partition() needs a separator that is not empty");
    const char *at = right ? find_last(s->s, s->len, sep) : memmem(s->s, s->len, sep->s, sep->len);
    size_t from = at ? (size_t)(at - s->s) : right ? 0 : s->len;
    size_t to = at ? from + sep->len : from;
    jinja_seq *parts = jinja_seq_new(rt, 3);
    parts->at[0] = jinja_str_sub(rt, s, 0, from);
    parts->at[1] = jinja_str_sub(rt, s, from, to);
    parts->at[2] = jinja_str_sub(rt, s, to, s->len);
    parts->n = 3;
    *out = jinja_tuple(parts);
    return true;
}

METHOD(str_partition)
{
    return partition(rt, self, a, false, out);
}
METHOD(str_rpartition)
{
    return partition(rt, self, a, true, out);
}

METHOD(str_join)
{
    jinja_iter *it;
    jval v;
    bool done;
    jinja_sb b;
    jinja_sb_init(&b, rt);
    if (!jinja_iter_of(rt, a->pos[0], &it))
        return false;
    for (size_t i = 0; jinja_iter_next(rt, it, &v, &done); i++) {
        if (done)
            return jinja_sb_done(&b, out);
        if (v.t != JINJA_STR)
            return jinja_fail(rt, "join() expects strings: item %zu is '%s'", i,
                              jinja_type_name(v));
        if (i)
            jinja_sb_add(&b, self.s->s, self.s->len);
        jinja_sb_add(&b, v.s->s, v.s->len);
    }
    return false;
}

/* --- padding --- */

static bool pad(jinja_rt *rt, jval self, const jinja_args *a, int left_share, jval *out)
{
    int64_t width, n = (int64_t)self.s->n;
    const jinja_str *fill = jinja_text(rt, " ").s;
    jinja_sb b;
    if (!jinja_arg_int(rt, a, 0, 0, &width) ||
        (jinja_given(a, 1) && !jinja_arg_str(rt, a, 1, &fill)))
        return false;
    if (fill->n != 1)
        return jinja_fail(rt, "the fill character must be exactly one character long");
    int64_t space = width > n ? width - n : 0;
    /* Python's centre: the odd one goes left when the width is odd too. */
    int64_t left = left_share == 2 ? space : left_share == 0 ? 0 : space / 2 + (space & width & 1);
    jinja_sb_init(&b, rt);
    jinja_sb_repeat(&b, fill->s, fill->len, left);
    jinja_sb_add(&b, self.s->s, self.s->len);
    jinja_sb_repeat(&b, fill->s, fill->len, space - left);
    return jinja_sb_done(&b, out);
}

METHOD(str_ljust)
{
    return pad(rt, self, a, 0, out);
}
METHOD(str_center)
{
    return pad(rt, self, a, 1, out);
}
METHOD(str_rjust)
{
    return pad(rt, self, a, 2, out);
}

METHOD(str_zfill)
{
    int64_t width;
    jinja_sb b;
    const jinja_str *s = self.s;
    if (!jinja_arg_int(rt, a, 0, 0, &width))
        return false;
    size_t sign = s->len && (s->s[0] == '-' || s->s[0] == '+');
    jinja_sb_init(&b, rt);
    jinja_sb_add(&b, s->s, sign);
    jinja_sb_repeat(&b, "0", 1, width - (int64_t)s->n);
    jinja_sb_add(&b, s->s + sign, s->len - sign);
    return jinja_sb_done(&b, out);
}

METHOD(str_expandtabs)
{
    int64_t size, column = 0;
    jinja_sb b;
    uint32_t cp;
    if (!jinja_arg_int(rt, a, 0, 8, &size))
        return false;
    jinja_sb_init(&b, rt);
    for (size_t i = 0, n; (n = jinja_utf8_next(self.s->s + i, self.s->len - i, &cp)); i += n) {
        if (cp == '\t') {
            int64_t spaces = size > 0 ? size - column % size : 0;
            jinja_sb_repeat(&b, " ", 1, spaces);
            column += spaces;
        } else {
            jinja_sb_add(&b, self.s->s + i, n);
            column = cp == '\n' || cp == '\r' ? 0 : column + 1;
        }
    }
    return jinja_sb_done(&b, out);
}

METHOD(str_format)
{
    return jinja_format(rt, self.s, a, out);
}

const jinja_builtin jinja_str_methods[] = {
    /* name, parameters, needed, function */
    {"strip", "/chars", 0, str_strip},
    {"lstrip", "/chars", 0, str_lstrip},
    {"rstrip", "/chars", 0, str_rstrip},
    {"split", "sep,maxsplit", 0, str_split},
    {"rsplit", "sep,maxsplit", 0, str_rsplit},
    {"splitlines", "keepends", 0, str_splitlines},
    {"startswith", "/prefix,start,end", 1, str_startswith},
    {"endswith", "/suffix,start,end", 1, str_endswith},
    {"replace", "/old,new,count", 2, str_replace},
    {"join", "/iterable", 1, str_join},
    {"format", NULL, 0, str_format},
    {"find", "/sub,start,end", 1, str_find},
    {"rfind", "/sub,start,end", 1, str_rfind},
    {"index", "/sub,start,end", 1, str_index},
    {"rindex", "/sub,start,end", 1, str_rindex},
    {"count", "/sub,start,end", 1, str_count},
    {"upper", "", 0, str_upper},
    {"lower", "", 0, str_lower},
    {"casefold", "", 0, str_lower},
    {"title", "", 0, str_title},
    {"capitalize", "", 0, str_capitalize},
    {"swapcase", "", 0, str_swapcase},
    {"partition", "/sep", 1, str_partition},
    {"rpartition", "/sep", 1, str_rpartition},
    {"removeprefix", "/prefix", 1, str_removeprefix},
    {"removesuffix", "/suffix", 1, str_removesuffix},
    {"ljust", "/width,fill", 1, str_ljust},
    {"rjust", "/width,fill", 1, str_rjust},
    {"center", "/width,fill", 1, str_center},
    {"zfill", "/width", 1, str_zfill},
    {"expandtabs", "tabsize", 0, str_expandtabs},
    {"isalpha", "", 0, str_isalpha},
    {"isalnum", "", 0, str_isalnum},
    {"isdigit", "", 0, str_isdigit},
    {"isdecimal", "", 0, str_isdigit},
    {"isnumeric", "", 0, str_isnumeric},
    {"isspace", "", 0, str_isspace},
    {"isprintable", "", 0, str_isprintable},
    {"isascii", "", 0, str_isascii},
    {"islower", "", 0, str_islower},
    {"isupper", "", 0, str_isupper},
    {0},
};

/* --- dictionaries --- */

static jval view_of(jinja_rt *rt, jval self, int kind)
{
    jinja_view *v = jinja_alloc(rt, sizeof *v);
    v->d = self.d;
    v->kind = kind;
    return (jval){.t = JINJA_VIEW, .view = v};
}

METHOD(dict_keys)
{
    *out = view_of(rt, self, JINJA_KEYS);
    return true;
}
METHOD(dict_values)
{
    *out = view_of(rt, self, JINJA_VALUES);
    return true;
}
METHOD(dict_items)
{
    *out = view_of(rt, self, JINJA_ITEMS);
    return true;
}
METHOD(dict_get)
{
    jinja_entry *e;
    if (!jinja_dict_get(rt, self.d, a->pos[0], &e))
        return false;
    *out = e ? e->value : jinja_given(a, 1) ? a->pos[1] : jinja_none();
    return true;
}
METHOD(dict_copy)
{
    *out = self; /* it cannot change: it is its own copy */
    return true;
}

const jinja_builtin jinja_dict_methods[] = {
    {"get", "/key,default", 1, dict_get},
    {"items", "", 0, dict_items},
    {"keys", "", 0, dict_keys},
    {"values", "", 0, dict_values},
    {"copy", "", 0, dict_copy},
    {"clear", "", 0, NULL},
    {"pop", "", 0, NULL},
    {"popitem", "", 0, NULL},
    {"setdefault", "", 0, NULL},
    {"update", "", 0, NULL},
    {0},
};

/* --- lists and tuples --- */

METHOD(seq_count)
{
    int64_t n = 0;
    bool same;
    for (size_t i = 0; i < self.seq->n; i++) {
        if (!jinja_charge(rt, 1) || !jinja_equal(rt, self.seq->at[i], a->pos[0], &same))
            return false;
        n += same;
    }
    *out = jinja_int(n);
    return true;
}

METHOD(seq_index)
{
    int64_t n = (int64_t)self.seq->n, from, to;
    bool same;
    if (!jinja_arg_int(rt, a, 1, 0, &from) || !jinja_arg_int(rt, a, 2, n, &to))
        return false;
    from = from < 0 ? (from + n < 0 ? 0 : from + n) : from;
    to = to < 0 ? to + n : to > n ? n : to;
    for (int64_t i = from; i < to; i++) {
        if (!jinja_charge(rt, 1) || !jinja_equal(rt, self.seq->at[i], a->pos[0], &same))
            return false;
        if (same) {
            *out = jinja_int(i);
            return true;
        }
    }
    return jinja_fail(rt, "the value is not in the %s", jinja_type_name(self));
}

METHOD(list_copy)
{
    *out = self;
    return true;
}

const jinja_builtin jinja_list_methods[] = {
    {"count", "/value", 1, seq_count},
    {"index", "/value,start,stop", 1, seq_index},
    {"copy", "", 0, list_copy},
    {"append", "", 0, NULL},
    {"clear", "", 0, NULL},
    {"extend", "", 0, NULL},
    {"insert", "", 0, NULL},
    {"pop", "", 0, NULL},
    {"remove", "", 0, NULL},
    {"reverse", "", 0, NULL},
    {"sort", "", 0, NULL},
    {0},
};

const jinja_builtin jinja_tuple_methods[] = {
    {"count", "/value", 1, seq_count},
    {"index", "/value,start,stop", 1, seq_index},
    {0},
};
