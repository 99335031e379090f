#include "runtime/nn/source.h"

#include <dirent.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/json.h"
#include "base/os.h"
#include "base/str.h"

/* Element types that both formats have; the rest of GGUF's are block types. */
static const struct {
    nx_ggml_id ggml;
    nx_safetensors_dtype safetensors;
    mlx_dtype dtype;
} plain[] = {
    {NX_GGML_F32, NX_SAFETENSORS_F32, MLX_FLOAT32}, {NX_GGML_F16, NX_SAFETENSORS_F16, MLX_FLOAT16},
    {NX_GGML_BF16, NX_SAFETENSORS_BF16, MLX_BFLOAT16},
    {NX_GGML_F64, NX_SAFETENSORS_F64, MLX_FLOAT64}, {NX_GGML_I8, NX_SAFETENSORS_I8, MLX_INT8},
    {NX_GGML_I16, NX_SAFETENSORS_I16, MLX_INT16},   {NX_GGML_I32, NX_SAFETENSORS_I32, MLX_INT32},
    {NX_GGML_I64, NX_SAFETENSORS_I64, MLX_INT64},
};
/* Those only safetensors has. */
static const struct {
    nx_safetensors_dtype safetensors;
    mlx_dtype dtype;
} others[] = {
    {NX_SAFETENSORS_BOOL, MLX_BOOL},  {NX_SAFETENSORS_U8, MLX_UINT8},
    {NX_SAFETENSORS_U16, MLX_UINT16}, {NX_SAFETENSORS_U32, MLX_UINT32},
    {NX_SAFETENSORS_U64, MLX_UINT64}, {NX_SAFETENSORS_F8_E4M3, MLX_UINT8},
};

static bool add(nn_source *s, nn_tensor t, const char *path)
{
    if (!nx_map_set(&s->index, t.name, strlen(t.name), s->tensors.n))
        return nx_fail("[%s] tensor '%s' is there twice", path, t.name);
    nx_vec_push(&s->tensors, t);
    return true;
}

static bool add_gguf_tensor(nn_source *s, const nx_gguf *g, const nx_gguf_tensor *t)
{
    nn_tensor n = {.name = t->name, .data = t->data, .bytes = t->bytes, .elements = t->elements,
                   .file = g->file, .offset = t->offset, .ndim = t->ndim ? t->ndim : 1,
                   .ggml_type = (int)t->type->id, .dtype = MLX_UINT8};
    for (int i = 0; i < n.ndim; i++) {
        uint64_t ne = t->ne[n.ndim - 1 - i];
        if (ne > INT_MAX)
            return nx_fail("[%s] tensor '%s' has a dimension of %llu, the limit is %d",
                           nx_mapping_path(g->file), t->name, (unsigned long long)ne, INT_MAX);
        n.shape[i] = (int)ne;
    }
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
        if (plain[i].ggml == t->type->id)
            n.dtype = plain[i].dtype;
    return add(s, n, nx_mapping_path(g->file));
}

static bool add_gguf(nn_source *s, const char *path)
{
    nx_gguf *g = nx_gguf_open(path);
    if (!g)
        return false;
    nx_vec_push(&s->ggufs, g);
    s->file_bytes += nx_mapping_size(g->file);
    for (size_t i = 0; i < g->n_tensors; i++)
        if (!add_gguf_tensor(s, g, &g->tensors[i]))
            return false;
    return true;
}

bool nn_source_open_gguf(nn_source *s, const char *path)
{
    *s = (nn_source){0};
    nx_gguf *first = nx_gguf_open(path);
    if (!first)
        return false;
    uint32_t no, count;
    nx_gguf_split(first, &no, &count);
    nx_gguf_free(first);
    bool ok = true;
    for (uint32_t i = 0; ok && i < count; i++) {
        nx_str part = {0};
        ok = count == 1 || nx_gguf_split_path(&part, path, i, count);
        ok = ok && add_gguf(s, count == 1 ? path : nx_str_cstr(&part));
        nx_str_clear(&part);
    }
    if (!ok)
        nn_source_clear(s);
    return ok;
}

static bool add_safetensor(nn_source *s, const nx_safetensors *f, const nx_safetensors_tensor *t)
{
    const char *path = nx_mapping_path(f->file);
    nn_tensor n = {.name = t->name, .data = t->data, .bytes = t->bytes, .elements = t->elements,
                   .file = f->file, .offset = t->offset, .ndim = t->ndim, .ggml_type = -1};
    bool known = false;
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
        if (plain[i].safetensors == t->dtype) {
            n.ggml_type = (int)plain[i].ggml;
            n.dtype = plain[i].dtype;
            known = true;
        }
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (others[i].safetensors == t->dtype) {
            n.dtype = others[i].dtype;
            known = true;
        }
    if (!known)
        return nx_fail("[%s] tensor '%s' is of type %s, which is not supported", path, t->name,
                       nx_safetensors_dtype_name(t->dtype));
    if (t->ndim > (int)(sizeof n.shape / sizeof *n.shape))
        return nx_fail("[%s] tensor '%s' has %d dimensions, the limit is %d", path, t->name, t->ndim,
                       (int)(sizeof n.shape / sizeof *n.shape));
    for (int i = 0; i < t->ndim; i++) {
        if (t->shape[i] > INT_MAX)
            return nx_fail("[%s] tensor '%s' has a dimension over %d", path, t->name, INT_MAX);
        n.shape[i] = (int)t->shape[i];
    }
    return add(s, n, path);
}

static bool add_safetensors(nn_source *s, const char *folder, const char *file)
{
    nx_str path = {0};
    nx_str_printf(&path, "%s/%s", folder, file);
    nx_safetensors *f = nx_safetensors_open(nx_str_cstr(&path));
    nx_str_clear(&path);
    if (!f)
        return false;
    nx_vec_push(&s->safetensors, f);
    s->file_bytes += nx_mapping_size(f->file);
    for (size_t i = 0; i < f->n_tensors; i++)
        if (!add_safetensor(s, f, &f->tensors[i]))
            return false;
    return true;
}

/* The shards an index names, each once. A name that leaves the folder is refused. */
static bool add_index(nn_source *s, const char *folder, const char *path)
{
    json_t *index = nx_json_load_file(path);
    if (!index)
        return false;
    nx_map seen = {0};
    bool ok = true;
    const char *tensor;
    json_t *value;
    json_t *weights = json_object_get(index, "weight_map");
    if (!json_is_object(weights))
        ok = nx_fail("[%s] has no weight_map", path);
    else
        json_object_foreach(weights, tensor, value)
        {
            const char *file = json_string_value(value);
            if (!file || strchr(file, '/') || strcmp(file, "..") == 0) {
                ok = nx_fail("[%s] names no file of this folder for '%s'", path, tensor);
                break;
            }
            if (nx_map_set(&seen, file, strlen(file), 1) && !(ok = add_safetensors(s, folder, file)))
                break;
        }
    nx_map_clear(&seen);
    json_decref(index);
    return ok;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool add_all_files(nn_source *s, const char *folder)
{
    NX_VEC(char *) names = {0};
    DIR *d = opendir(folder);
    if (!d)
        return nx_fail("[%s] the folder cannot be read", folder);
    for (struct dirent *e; (e = readdir(d));) {
        size_t n = strlen(e->d_name);
        if (n > 12 && e->d_name[0] != '.' && strcmp(e->d_name + n - 12, ".safetensors") == 0)
            nx_vec_push(&names, nx_strdup(e->d_name));
    }
    closedir(d);
    nx_vec_sort(&names, by_name);
    bool ok = names.n > 0 || nx_fail("[%s] no *.safetensors file in this folder", folder);
    for (size_t i = 0; i < names.n; i++) {
        ok = ok && add_safetensors(s, folder, names.at[i]);
        free(names.at[i]);
    }
    nx_vec_clear(&names);
    return ok;
}

bool nn_source_open_folder(nn_source *s, const char *folder)
{
    *s = (nn_source){0};
    nx_str path = {0};
    nx_str_printf(&path, "%s/model.safetensors.index.json", folder);
    bool ok;
    if (nx_os_is_file(nx_str_cstr(&path))) {
        ok = add_index(s, folder, nx_str_cstr(&path));
    } else {
        nx_str_truncate(&path, 0);
        nx_str_printf(&path, "%s/model.safetensors", folder);
        ok = nx_os_is_file(nx_str_cstr(&path)) ? add_safetensors(s, folder, "model.safetensors")
                                               : add_all_files(s, folder);
    }
    nx_str_clear(&path);
    if (!ok)
        nn_source_clear(s);
    return ok;
}

void nn_source_clear(nn_source *s)
{
    for (size_t i = 0; i < s->ggufs.n; i++)
        nx_gguf_free(s->ggufs.at[i]);
    for (size_t i = 0; i < s->safetensors.n; i++)
        nx_safetensors_free(s->safetensors.at[i]);
    nx_vec_clear(&s->ggufs);
    nx_vec_clear(&s->safetensors);
    nx_vec_clear(&s->tensors);
    nx_map_clear(&s->index);
    *s = (nn_source){0};
}

bool nn_source_is_mlx(const nn_source *s)
{
    for (size_t i = 0; i < s->safetensors.n; i++) {
        const nx_safetensors *f = s->safetensors.at[i];
        for (size_t k = 0; k < f->n_metadata; k++)
            if (strcmp(f->metadata[k].key, "format") == 0 && nx_slice_is(f->metadata[k].value, "mlx"))
                return true;
    }
    return false;
}

nn_tensor *nn_source_find(nn_source *s, const char *name)
{
    nx_map_entry *e = nx_map_find(&s->index, name, strlen(name));
    if (!e)
        return NULL;
    nn_tensor *t = &s->tensors.at[e->value];
    t->used = true;
    return t;
}

/* Levenshtein distance with one row; names are short. */
int nn_name_distance(const char *a, const char *b)
{
    enum { MOST = 200 };
    int row[MOST + 1], n = (int)strlen(b);
    if (n > MOST)
        return INT_MAX;
    for (int j = 0; j <= n; j++)
        row[j] = j;
    for (int i = 1; *a; a++, i++) {
        int diagonal = row[0];
        row[0] = i;
        for (int j = 1; j <= n; j++) {
            int replaced = diagonal + (*a != b[j - 1]);
            diagonal = row[j];
            int least = row[j] < row[j - 1] ? row[j] + 1 : row[j - 1] + 1;
            row[j] = replaced < least ? replaced : least;
        }
    }
    return row[n];
}

const char *nn_source_nearest(const nn_source *s, const char *name)
{
    const char *best = NULL;
    int least = INT_MAX;
    bool left = false; /* the best is one that nothing has asked for */
    for (size_t i = 0; i < s->tensors.n; i++) {
        const nn_tensor *t = &s->tensors.at[i];
        int d = nn_name_distance(name, t->name);
        if ((left && t->used) || (left == !t->used && d >= least))
            continue;
        left = !t->used;
        least = d;
        best = t->name;
    }
    return best;
}

bool nn_tensor_array(const nn_tensor *t, mlx_array *out)
{
    int shape[8], ndim = t->ndim;
    memcpy(shape, t->shape, sizeof shape);
    bool blocks = t->dtype == MLX_UINT8 && t->ggml_type >= 0;
    if (blocks) { /* rows of whole blocks */
        uint64_t rows = 1;
        for (int i = 0; i < ndim - 1; i++)
            rows *= (uint64_t)shape[i];
        uint64_t row_bytes = rows ? t->bytes / rows : 0;
        if (rows > INT_MAX || row_bytes > INT_MAX)
            return nx_fail("[%s] tensor '%s' is too large", nx_mapping_path(t->file), t->name);
        shape[0] = (int)rows;
        shape[1] = (int)row_bytes;
        ndim = 2;
    }
    size_t item = mlx_dtype_size(t->dtype);
    mlx_array a;
    if (((uintptr_t)t->data % item) == 0)
        a = mlx_array_new_data_managed_payload((void *)(uintptr_t)t->data, shape, ndim, t->dtype,
                                               nx_mapping_ref(t->file), nx_mapping_drop);
    else
        a = mlx_array_new_data(t->data, shape, ndim, t->dtype); /* the file is not aligned: a copy */
    if (!a.ctx)
        return false;
    mlx_array_free(*out);
    *out = a;
    return true;
}
