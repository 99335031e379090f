/* io.h: GGUF files. */
#include "engine/io/gguf.h"

#include <string.h>

#include "engine/capi/objects.h"
#include "engine/core/eval.h"
#include "engine/ops/shape.h"

/* ---- loading -------------------------------------------------------------------------------- */

static bool load_tensor(nx_gguf_object *g, const nx_gguf *file, const nx_gguf_tensor *t)
{
    NX_SCOPE;
    nx_gguf_arrays a;
    bool ok = nx_gguf_arrays_of(&a, file, t);
    for (int i = 0; ok && i < a.n; i++) {
        ok = !nx_map_find(&g->arrays, a.name[i].data, a.name[i].len) ||
             nx_fail("[load_gguf] the file has more than one array named %s", a.name[i].data);
        if (ok)
            nx_map_put_array(&g->arrays, a.name[i].data, a.array[i]);
    }
    nx_gguf_arrays_clear(&a);
    return ok;
}

static bool load_strings(nx_note *v, const nx_gguf_kv *kv)
{
    nx_gguf_strings s;
    if (!nx_gguf_strings_init(&s, kv, kv->key))
        return false;
    for (size_t i = 0; i < s.n; i++) {
        nx_slice text = nx_gguf_strings_at(&s, i);
        nx_vec_push(&v->strings, nx_strndup(text.data, text.len));
    }
    nx_gguf_strings_clear(&s);
    return true;
}

static bool load_note(nx_gguf_object *g, const nx_gguf_kv *kv)
{
    NX_SCOPE;
    if (kv->item_type != NX_GGUF_STR) {
        nx_array *a = nx_gguf_numbers(kv);
        if (a)
            nx_note_set(g, kv->key, NX_NOTE_ARRAY)->array = nx_array_ref(a);
        return a != NULL;
    }
    if (kv->type == NX_GGUF_ARRAY)
        return load_strings(nx_note_set(g, kv->key, NX_NOTE_STRINGS), kv);
    nx_slice text = nx_gguf_str(kv);
    nx_note_set(g, kv->key, NX_NOTE_STRING)->string = nx_strndup(text.data, text.len);
    return true;
}

int mlx_load_gguf(mlx_io_gguf *gguf, const char *file, const mlx_stream s)
{
    NX_POINTER(gguf);
    nx_gguf *f = nx_gguf_open(NX_POINTER(file));
    if (!f)
        return nx_report();
    nx_gguf_object *g = nx_calloc(1, sizeof *g);
    bool ok = true;
    for (size_t i = 0; ok && i < f->n_kv; i++)
        ok = load_note(g, &f->kv[i]);
    for (size_t i = 0; ok && i < f->n_tensors; i++)
        ok = load_tensor(g, f, &f->tensors[i]);
    nx_gguf_free(f);
    if (ok && gguf->ctx) { /* copies of the handle see the new content */
        nx_gguf_object old = *(nx_gguf_object *)gguf->ctx;
        *(nx_gguf_object *)gguf->ctx = *g;
        *g = old;
    } else if (ok) {
        gguf->ctx = g;
        return 0;
    }
    nx_gguf_object_clear(g);
    free(g);
    return nx_status(ok);
}

/* ---- saving --------------------------------------------------------------------------------- */

static nx_array *array_at(const nx_map *map, size_t i)
{
    return (nx_array *)(uintptr_t)map->entries[i].value;
}

/* Evaluated and row-major; NULL after nx_fail. */
static nx_array *ready(nx_array *a)
{
    a = nx_contiguous(a, false, nx_stream_default((nx_device){NX_CPU, 0}));
    return a && nx_eval_one(a) ? a : NULL;
}

static bool save_note(nx_gguf_writer *w, const char *key, const nx_note *v)
{
    NX_SCOPE;
    if (v->kind == NX_NOTE_ARRAY) {
        nx_array *a = ready(v->array);
        return a && nx_gguf_writer_numbers(w, key, a);
    }
    if (v->kind == NX_NOTE_STRING)
        return nx_gguf_writer_str(w, key, nx_slice_of(v->string));
    nx_slice *items = nx_malloc(v->strings.n * sizeof *items + 1);
    for (size_t i = 0; i < v->strings.n; i++)
        items[i] = nx_slice_of(v->strings.at[i]);
    bool ok = nx_gguf_writer_strings(w, key, items, v->strings.n);
    free(items);
    return ok;
}

static bool save(nx_gguf_writer *w, const nx_gguf_object *g)
{
    bool ok = true;
    for (size_t i = 0; ok && i < g->metadata.n; i++)
        ok = save_note(w, g->metadata.entries[i].key,
                       (const nx_note *)(uintptr_t)g->metadata.entries[i].value);
    for (size_t i = 0; ok && i < g->arrays.n; i++)
        ok = nx_gguf_writer_declare(w, g->arrays.entries[i].key, array_at(&g->arrays, i));
    for (size_t i = 0; ok && i < g->arrays.n; i++) {
        NX_SCOPE; /* one array's row-major copy at a time */
        nx_array *a = ready(array_at(&g->arrays, i));
        const char *data = a ? nx_array_host(a) : NULL;
        ok = data && nx_gguf_writer_data(w, data, (size_t)nx_array_nbytes(a));
    }
    return ok && nx_gguf_writer_finish(w);
}

/* As MLX does, the ending .gguf is added where it is not there. */
int mlx_save_gguf(const char *file, mlx_io_gguf gguf)
{
    const nx_gguf_object *g = NX_OBJECT(nx_gguf_object, gguf);
    nx_str path = {0};
    nx_str_puts(&path, NX_POINTER(file));
    if (path.len < 5 || strcmp(path.data + path.len - 5, ".gguf") != 0)
        nx_str_puts(&path, ".gguf");
    nx_gguf_writer *w = nx_gguf_writer_new(path.data);
    bool ok = w && save(w, g);
    nx_gguf_writer_free(w);
    nx_str_clear(&path);
    return nx_status(ok);
}
