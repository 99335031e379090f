/*
 * einsum.c: Einstein sums. Each operand's dimensions get labels; pairs of operands are contracted
 * by a matrix product (or multiplied, where nothing is summed) in the cheapest order: the best of
 * all for few operands, else one good step after the other.
 */
#include <stdlib.h>
#include <string.h>

#include "engine/ops/axes.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/matmul.h"
#include "engine/ops/product.h"
#include "engine/ops/reduce.h"
#include "engine/ops/shape.h"

enum {
    MAX_LABELS = 64,    /* different ones: sets are bits */
    BEST_OF_ALL_TO = 8, /* operands for which all orders are tried */
};

typedef struct {
    nx_array *a;
    int n; /* = a->ndim */
    uint8_t labels[NX_MAX_NDIM];
} term;

typedef struct {
    uint8_t of_char[128];         /* label of a letter, +1; 0: none yet */
    uint8_t of_dots[NX_MAX_NDIM]; /* of the i-th dimension from the right under "...", +1 */
    int n_labels;
    int size[MAX_LABELS]; /* extent of each label */
    term *terms;
    int n;
    term out; /* labels alone */
    int dots; /* most dimensions any "..." stands for */
    nx_stream *s;
} sum;

/* ---- reading the subscripts ------------------------------------------------------------------ */

static bool label_new(sum *e, uint8_t *slot)
{
    if (e->n_labels == MAX_LABELS)
        return nx_fail("[einsum] more than %d different subscripts", MAX_LABELS);
    e->size[e->n_labels++] = 1;
    *slot = (uint8_t)e->n_labels;
    return true;
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Letters and at most one "..." (which stands for `dots` dimensions) up to `end` into t. */
static bool read_labels(sum *e, const char *at, const char *end, int dots, term *t, bool *has_dots)
{
    *has_dots = false;
    for (; at < end; at++) {
        bool ellipsis = end - at >= 3 && memcmp(at, "...", 3) == 0;
        int count = ellipsis ? dots : 1;
        if (ellipsis && *has_dots)
            return nx_fail("[einsum] more than one ellipsis for one array");
        if (!ellipsis && !is_letter(*at))
            return nx_fail("[einsum] subscripts must be letters, not '%c'", *at);
        if (t->n + count > NX_MAX_NDIM)
            return nx_fail("[einsum] %d dimensions are too many, the limit is %d", t->n + count,
                           NX_MAX_NDIM);
        for (int i = 0; i < count; i++) {
            uint8_t *slot = ellipsis ? &e->of_dots[dots - 1 - i] : &e->of_char[(unsigned char)*at];
            if (!*slot && !label_new(e, slot))
                return false;
            t->labels[t->n++] = (uint8_t)(*slot - 1);
        }
        if (ellipsis) {
            *has_dots = true;
            at += 2;
        }
    }
    return true;
}

static int letters_in(const char *at, const char *end)
{
    int n = 0;
    for (; at < end; at++)
        n += is_letter(*at);
    return n;
}

/* One operand: its labels, and the extents they have. */
static bool read_term(sum *e, const char *at, const char *end, int index)
{
    term *t = &e->terms[index];
    bool has_dots;
    int dots = t->a->ndim - letters_in(at, end);
    if (at == end)
        return nx_fail("[einsum] operand %d has no subscripts", index);
    if (!read_labels(e, at, end, dots > 0 ? dots : 0, t, &has_dots))
        return false;
    if (dots < 0 || (dots > 0 && !has_dots))
        return nx_fail("[einsum] %d subscripts do not fit operand %d of %d dimensions",
                       letters_in(at, end), index, t->a->ndim);
    if (has_dots && dots > e->dots)
        e->dots = dots;
    for (int i = 0; i < t->n; i++) {
        int *size = &e->size[t->labels[i]], n = t->a->shape[i];
        if (n != *size && n != 1 && *size != 1)
            return nx_fail("[einsum] a subscript of operand %d names dimensions of %d and %d",
                           index, *size, n);
        if (*size == 1)
            *size = n;
    }
    return true;
}

static bool read_terms(sum *e, const char *at, const char *end)
{
    for (int i = 0;; i++) {
        const char *comma = memchr(at, ',', (size_t)(end - at));
        if (i == e->n || (!comma && i < e->n - 1)) {
            int given = i + 1;
            for (const char *c = at; c < end; c++)
                given += *c == ',';
            return nx_fail("[einsum] %d operands do not fit %d groups of subscripts", e->n, given);
        }
        if (!read_term(e, at, comma ? comma : end, i))
            return false;
        if (!comma)
            return true;
        at = comma + 1;
    }
}

static uint64_t set_of(const term *t)
{
    uint64_t set = 0;
    for (int i = 0; i < t->n; i++)
        set |= (uint64_t)1 << t->labels[i];
    return set;
}

/* Without "->": the ellipsis, then the letters that appear once. */
static bool implied_output(sum *e)
{
    int count[MAX_LABELS] = {0};
    for (int i = 0; i < e->n; i++)
        for (int d = 0; d < e->terms[i].n; d++)
            count[e->terms[i].labels[d]]++;
    for (int i = e->dots - 1; i >= 0; i--)
        e->out.labels[e->out.n++] = (uint8_t)(e->of_dots[i] - 1);
    for (int c = 0; c < 128; c++)
        if (e->of_char[c] && count[e->of_char[c] - 1] == 1) {
            if (e->out.n == NX_MAX_NDIM)
                return nx_fail("[einsum] the result has more than %d dimensions", NX_MAX_NDIM);
            e->out.labels[e->out.n++] = (uint8_t)(e->of_char[c] - 1);
        }
    return true;
}

static bool read_output(sum *e, const char *at, const char *end)
{
    bool has_dots;
    uint64_t known = 0, seen = 0;
    for (int i = 0; i < e->n; i++)
        known |= set_of(&e->terms[i]);
    if (!read_labels(e, at, end, e->dots, &e->out, &has_dots))
        return false;
    for (int i = 0; i < e->out.n; i++) {
        uint64_t bit = (uint64_t)1 << e->out.labels[i];
        if (!(known & bit))
            return nx_fail("[einsum] the result has a subscript that no operand has");
        if (seen & bit)
            return nx_fail("[einsum] the result has a subscript twice");
        seen |= bit;
    }
    return true;
}

static bool read_all(sum *e, const char *subscripts)
{
    char *text = nx_strdup(subscripts), *end = text;
    for (const char *c = subscripts; *c; c++)
        if (*c != ' ')
            *end++ = *c;
    *end = '\0';
    char *arrow = strstr(text, "->");
    bool ok = read_terms(e, text, arrow ? arrow : end) &&
              (arrow ? read_output(e, arrow + 2, end) : implied_output(e));
    free(text);
    return ok;
}

/* ---- one operand ----------------------------------------------------------------------------- */

static void drop_label(term *t, int at)
{
    memmove(t->labels + at, t->labels + at + 1, (size_t)(t->n - at - 1));
    t->n--;
}

/* Dimensions of size 1 whose label is larger elsewhere go: the others' values count for them. */
static void squeeze_broadcast(sum *e, term *t)
{
    int axes[NX_MAX_NDIM], n = 0;
    for (int i = 0; i < t->n; i++)
        if (t->a->shape[i] != e->size[t->labels[i]])
            axes[n++] = i;
    t->a = nx_squeeze_axes(t->a, axes, n, e->s);
    while (n)
        drop_label(t, axes[--n]);
}

/* A label that appears twice names a diagonal. */
static bool take_diagonals(sum *e, term *t, int index)
{
    for (int i = 0; i < t->n; i++)
        for (int j = i + 1; t->a && j < t->n; j++) {
            if (t->labels[i] != t->labels[j])
                continue;
            if (t->a->shape[i] != t->a->shape[j])
                return nx_fail("[einsum] a subscript of operand %d names dimensions of %d and %d",
                               index, t->a->shape[i], t->a->shape[j]);
            uint8_t label = t->labels[i];
            t->a = nx_diagonal(t->a, 0, i, j, e->s);
            drop_label(t, j);
            drop_label(t, i);
            t->labels[t->n++] = label;
            i = -1; /* the dimensions have moved: look again */
            break;
        }
    return t->a != NULL;
}

/* Sums over the labels that nobody else needs. */
static void sum_unneeded(sum *e, term *t, uint64_t kept)
{
    int axes[NX_MAX_NDIM], n = 0;
    for (int i = 0; i < t->n; i++)
        if (!(kept >> t->labels[i] & 1))
            axes[n++] = i;
    if (!n)
        return;
    t->a = nx_sum(t->a, axes, n, false, e->s);
    while (n)
        drop_label(t, axes[--n]);
}

/* ---- two operands ---------------------------------------------------------------------------- */

/* Appends those labels of t that are in the set, in t's order. */
static int pick(const term *t, uint64_t set, uint8_t *labels, int n)
{
    for (int i = 0; i < t->n; i++)
        if (set >> t->labels[i] & 1)
            labels[n++] = t->labels[i];
    return n;
}

/* t with its dimensions in the order of the labels. */
static nx_array *ordered(const term *t, const uint8_t *labels, nx_stream *s)
{
    int axes[NX_MAX_NDIM];
    for (int i = 0; i < t->n; i++)
        for (int j = 0; j < t->n; j++)
            if (t->labels[j] == labels[i])
                axes[i] = j;
    return t->a ? nx_transpose_axes(t->a, axes, t->n, s) : NULL;
}

/* a (its first n_batch dimensions kept, the next n_rows made one, and the rest one) */
static nx_array *as_matrices(nx_array *a, int n_batch, int n_rows, nx_stream *s)
{
    int shape[NX_MAX_NDIM + 2];
    if (!a)
        return NULL;
    int64_t rows = nx_shape_size(a->shape + n_batch, n_rows);
    int64_t columns = nx_shape_size(a->shape + n_batch + n_rows, a->ndim - n_batch - n_rows);
    if (rows > INT32_MAX || columns > INT32_MAX || n_batch + 2 > NX_MAX_NDIM)
        return nx_fail_null("[einsum] the operands are too large");
    memcpy(shape, a->shape, (size_t)n_batch * sizeof *shape);
    shape[n_batch] = (int)rows;
    shape[n_batch + 1] = (int)columns;
    return nx_reshape(a, shape, n_batch + 2, s);
}

/* Sums over the labels both have and nobody else needs: [batch, left, sum] x [batch, sum, right].
 */
static term contract(sum *e, const term *x, const term *y, uint64_t kept)
{
    uint64_t in_x = set_of(x), in_y = set_of(y), both = in_x & in_y;
    uint8_t order[2 * NX_MAX_NDIM];
    int batch = pick(x, both & kept, order, 0);
    int left = pick(x, in_x & ~both, order, batch) - batch;
    pick(x, both & ~kept, order, batch + left);
    nx_array *a = ordered(x, order, e->s);
    term out = {.n = batch + left};
    memcpy(out.labels, order, (size_t)out.n);

    int n = pick(x, both & ~kept, order, batch);
    int right = pick(y, in_y & ~both, order, n) - n;
    nx_array *b = ordered(y, order, e->s);
    if (!a || !b)
        return out;
    if (batch + left + right > NX_MAX_NDIM) {
        nx_fail("[einsum] an intermediate result has more than %d dimensions", NX_MAX_NDIM);
        return out;
    }
    memcpy(out.labels + out.n, order + n, (size_t)right);
    out.n += right;
    int shape[NX_MAX_NDIM];
    for (int i = 0; i < out.n; i++)
        shape[i] = e->size[out.labels[i]];
    a = as_matrices(a, batch, left, e->s);
    b = as_matrices(b, batch, n - batch, e->s);
    out.a = nx_reshape(nx_matmul(a, b, e->s), shape, out.n, e->s);
    return out;
}

/* Nothing to sum: [batch, left, 1...] times [batch, 1..., right]. */
static term multiply(sum *e, const term *x, const term *y)
{
    uint64_t in_x = set_of(x), in_y = set_of(y), both = in_x & in_y;
    uint8_t order[NX_MAX_NDIM];
    term out = {0};
    int batch = pick(x, both, out.labels, 0);
    int left = pick(x, in_x & ~both, out.labels, batch) - batch;
    nx_array *a = ordered(x, out.labels, e->s);
    pick(x, both, order, 0);
    int right = pick(y, in_y & ~both, order, batch) - batch;
    nx_array *b = ordered(y, order, e->s);
    if (batch + left + right > NX_MAX_NDIM) {
        nx_fail("[einsum] an intermediate result has more than %d dimensions", NX_MAX_NDIM);
        return out;
    }
    out.n = batch + left + right;
    memcpy(out.labels + batch + left, order + batch, (size_t)right);
    int axes[NX_MAX_NDIM];
    for (int i = 0; i < right; i++)
        axes[i] = batch + left + i;
    a = nx_expand_dims_axes(a, axes, right, e->s);
    for (int i = 0; i < left; i++)
        axes[i] = batch + i;
    b = nx_expand_dims_axes(b, axes, left, e->s);
    out.a = nx_multiply(a, b, e->s);
    return out;
}

static term combine(sum *e, const term *x, const term *y, uint64_t kept)
{
    return set_of(x) & set_of(y) & ~kept ? contract(e, x, y, kept) : multiply(e, x, y);
}

/* ---- the order ------------------------------------------------------------------------------- */

static double elements(const sum *e, uint64_t set)
{
    double n = 1;
    for (; set; set &= set - 1)
        n *= e->size[__builtin_ctzll(set)];
    return n;
}

typedef struct {
    uint64_t labels[1 << BEST_OF_ALL_TO]; /* of the result of each set of operands */
    double cost[1 << BEST_OF_ALL_TO];
    uint16_t half[1 << BEST_OF_ALL_TO]; /* one of the two sets it is best made of */
} plan;

/* What the result of a set of operands must still have. */
static uint64_t kept_by(const sum *e, unsigned members)
{
    uint64_t kept = set_of(&e->out);
    for (int i = 0; i < e->n; i++)
        if (!(members >> i & 1))
            kept |= set_of(&e->terms[i]);
    return kept;
}

static void plan_make(const sum *e, plan *p)
{
    for (unsigned set = 1; set < 1u << e->n; set++) {
        uint64_t all = 0;
        for (int i = 0; i < e->n; i++)
            if (set >> i & 1)
                all |= set_of(&e->terms[i]);
        p->labels[set] = all & kept_by(e, set);
        p->cost[set] = 0;
        p->half[set] = 0;
        for (unsigned half = (set - 1) & set; half; half = (half - 1) & set) {
            double cost = p->cost[half] + p->cost[set ^ half] +
                          elements(e, p->labels[half] | p->labels[set ^ half]);
            if (!p->half[set] || cost < p->cost[set]) {
                p->cost[set] = cost;
                p->half[set] = (uint16_t)half;
            }
        }
    }
}

static term plan_run(sum *e, const plan *p, unsigned set)
{
    if (!p->half[set])
        return e->terms[__builtin_ctz(set)];
    unsigned half = p->half[set];
    term x = plan_run(e, p, half);
    term y = plan_run(e, p, set ^ half);
    return x.a && y.a ? combine(e, &x, &y, kept_by(e, set)) : (term){0};
}

static uint64_t kept_by_others(const sum *e, int i, int j)
{
    uint64_t kept = set_of(&e->out);
    for (int k = 0; k < e->n; k++)
        if (k != i && k != j)
            kept |= set_of(&e->terms[k]);
    return kept;
}

/* The pair whose product is smallest against what it replaces becomes one, until one is left. */
static term run_greedy(sum *e)
{
    while (e->n > 1) {
        double best = 0;
        int at_i = -1, at_j = -1;
        for (int i = 0; i < e->n; i++)
            for (int j = i + 1; j < e->n; j++) {
                uint64_t x = set_of(&e->terms[i]), y = set_of(&e->terms[j]);
                double gain = elements(e, (x | y) & kept_by_others(e, i, j)) - elements(e, x) -
                              elements(e, y);
                if (at_i < 0 || gain < best) {
                    best = gain;
                    at_i = i;
                    at_j = j;
                }
            }
        term x = e->terms[at_i], y = e->terms[at_j];
        e->terms[at_i] = combine(e, &x, &y, kept_by_others(e, at_i, at_j));
        if (!e->terms[at_i].a)
            break;
        e->terms[at_j] = e->terms[--e->n];
    }
    return e->terms[0].a && e->n == 1 ? e->terms[0] : (term){0};
}

static nx_array *evaluate(sum *e)
{
    for (int i = 0; i < e->n; i++) {
        if (!take_diagonals(e, &e->terms[i], i))
            return NULL;
        squeeze_broadcast(e, &e->terms[i]);
    }
    for (int i = 0; i < e->n; i++) {
        sum_unneeded(e, &e->terms[i], kept_by_others(e, i, i));
        if (!e->terms[i].a)
            return NULL;
    }
    term out;
    if (e->n <= BEST_OF_ALL_TO) {
        plan *p = nx_malloc(sizeof *p);
        plan_make(e, p);
        out = plan_run(e, p, (1u << e->n) - 1);
        free(p);
    } else {
        out = run_greedy(e);
    }
    return ordered(&out, e->out.labels, e->s);
}

nx_array *nx_einsum(const char *subscripts, nx_array *const *operands, int n, nx_stream *s)
{
    if (n < 1)
        return nx_fail_null("[einsum] there are no operands");
    for (int i = 0; i < n; i++)
        if (!operands[i])
            return NULL;
    sum e = {.n = n, .s = s, .terms = nx_calloc((size_t)n, sizeof(term))};
    for (int i = 0; i < n; i++)
        e.terms[i].a = operands[i];
    nx_array *out = read_all(&e, subscripts) ? evaluate(&e) : NULL;
    free(e.terms);
    return out;
}
