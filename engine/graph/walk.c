#include "engine/graph/walk.h"

/* ---- the map -------------------------------------------------------------------------------- */

static size_t slot_of(const nx_ptr_map *m, const void *key)
{
    uint64_t h = (uint64_t)(uintptr_t)key * UINT64_C(0x9E3779B97F4A7C15);
    size_t i = (size_t)(h >> 20) & (m->n_slots - 1);
    while (m->slots[i].key && m->slots[i].key != key)
        i = (i + 1) & (m->n_slots - 1);
    return i;
}

static void grow(nx_ptr_map *m)
{
    nx_ptr_map bigger = {.n_slots = m->n_slots ? m->n_slots * 2 : 64};
    bigger.slots = nx_calloc(bigger.n_slots, sizeof *bigger.slots);
    for (size_t i = 0; i < m->n_slots; i++)
        if (m->slots[i].key)
            bigger.slots[slot_of(&bigger, m->slots[i].key)] = m->slots[i];
    bigger.n = m->n;
    free(m->slots);
    *m = bigger;
}

void nx_ptr_map_set(nx_ptr_map *m, const void *key, size_t value)
{
    if (m->n * 2 >= m->n_slots)
        grow(m);
    size_t i = slot_of(m, key);
    m->n += !m->slots[i].key;
    m->slots[i].key = key;
    m->slots[i].value = value;
}

size_t *nx_ptr_map_find(const nx_ptr_map *m, const void *key)
{
    if (!m->n_slots)
        return NULL;
    size_t i = slot_of(m, key);
    return m->slots[i].key ? &m->slots[i].value : NULL;
}

void nx_ptr_map_clear(nx_ptr_map *m)
{
    free(m->slots);
    *m = (nx_ptr_map){0};
}

/* ---- the walk ------------------------------------------------------------------------------- */

typedef struct {
    nx_node *node;
    int next;     /* the input to look at next */
    bool reaches; /* an input leads to a source */
} frame;

static void append(nx_graph_walk *w, nx_node *n)
{
    nx_vec_push(&w->order, (nx_walked){n, w->n_outputs});
    nx_ptr_map_set(&w->index, n, w->order.n);
    w->n_outputs += n->n_out;
}

/* Sources are traced, and so is all that was built on them: nothing else needs a look. */
static bool may_lead(const nx_node *n, bool differentiable)
{
    return n->traced && n->prim && !(differentiable && n->prim->flags & NX_PRIM_NO_GRAD);
}

static void walk_from(nx_graph_walk *w, nx_node *root, bool differentiable)
{
    NX_VEC(frame) stack = {0};
    if (nx_ptr_map_find(&w->index, root) || !may_lead(root, differentiable))
        return;
    nx_ptr_map_set(&w->index, root, 0);
    nx_vec_push(&stack, (frame){.node = root});
    while (stack.n) {
        frame *f = &nx_vec_last(&stack);
        if (f->next < f->node->n_in) {
            nx_node *in = f->node->in[f->next]->node;
            const size_t *known = nx_ptr_map_find(&w->index, in);
            if (!known && may_lead(in, differentiable)) {
                nx_ptr_map_set(&w->index, in, 0);
                nx_vec_push(&stack, (frame){.node = in}); /* comes back to this input when done */
                continue;
            }
            f->reaches |= known && *known;
            f->next++;
            continue;
        }
        if (f->reaches)
            append(w, f->node);
        stack.n--;
    }
    nx_vec_clear(&stack);
}

void nx_graph_walk_init(nx_graph_walk *w, nx_array *const *sources, size_t n_sources,
                        nx_array *const *to, size_t n_to, bool differentiable,
                        const nx_node *border)
{
    *w = (nx_graph_walk){0};
    if (border)
        nx_ptr_map_set(&w->index, border, 0);
    for (int i = 0; border && i < border->n_in; i++)
        nx_ptr_map_set(&w->index, border->in[i]->node, 0);
    for (size_t i = 0; i < n_sources; i++)
        if (!nx_ptr_map_find(&w->index, sources[i]->node))
            append(w, sources[i]->node);
    w->n_sources = w->order.n;
    for (size_t i = 0; i < n_to; i++)
        walk_from(w, to[i]->node, differentiable);
}

void nx_graph_walk_clear(nx_graph_walk *w)
{
    nx_vec_clear(&w->order);
    nx_ptr_map_clear(&w->index);
}

size_t nx_graph_walk_find(const nx_graph_walk *w, const nx_array *a)
{
    const size_t *at = nx_ptr_map_find(&w->index, a->node);
    return at && *at ? w->order.at[*at - 1].first + a->index : SIZE_MAX;
}
