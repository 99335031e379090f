/* device.h. A device handle is an nx_device, device information an info. */
#include <string.h>
#include <sys/utsname.h>
#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>
#endif

#include "engine/capi/objects.h"

#define DEVICE(handle) (*NX_OBJECT(nx_device, handle))

static void device_put(mlx_device *res, nx_device d)
{
    if (!res->ctx)
        res->ctx = nx_malloc(sizeof d);
    *(nx_device *)res->ctx = d;
}

mlx_device mlx_device_new(void)
{
    return (mlx_device){NULL};
}

mlx_device mlx_device_new_type(mlx_device_type type, int index)
{
    mlx_device dev = {NULL};
    if ((type != MLX_CPU && type != MLX_GPU) || index < 0) {
        nx_fail("[device] there is no device of type %d and index %d", (int)type, index);
        nx_report();
        return dev;
    }
    device_put(&dev, (nx_device){type == MLX_GPU ? NX_GPU : NX_CPU, index});
    return dev;
}

int mlx_device_free(mlx_device dev)
{
    free(dev.ctx);
    return 0;
}

int mlx_device_set(mlx_device *dev, const mlx_device src)
{
    device_put(NX_POINTER(dev), DEVICE(src));
    return 0;
}

int mlx_device_tostring(mlx_string *str, mlx_device dev)
{
    nx_device d = DEVICE(dev);
    char text[64];
    snprintf(text, sizeof text, "Device(%s, %d)", d.type == NX_GPU ? "gpu" : "cpu", d.index);
    nx_string_set(NX_POINTER(str), text);
    return 0;
}

bool mlx_device_equal(mlx_device lhs, mlx_device rhs)
{
    nx_device *a = NX_OBJECT_OR(nx_device, lhs, false), *b = NX_OBJECT_OR(nx_device, rhs, false);
    return a->type == b->type && a->index == b->index;
}

int mlx_device_get_index(int *index, mlx_device dev)
{
    *NX_POINTER(index) = DEVICE(dev).index;
    return 0;
}

int mlx_device_get_type(mlx_device_type *type, mlx_device dev)
{
    *NX_POINTER(type) = DEVICE(dev).type == NX_GPU ? MLX_GPU : MLX_CPU;
    return 0;
}

int mlx_get_default_device(mlx_device *dev)
{
    device_put(NX_POINTER(dev), nx_device_default());
    return 0;
}

int mlx_set_default_device(mlx_device dev)
{
    return nx_status(nx_device_set_default(DEVICE(dev)));
}

int mlx_device_is_available(bool *avail, mlx_device dev)
{
    *NX_POINTER(avail) = nx_device_backend(DEVICE(dev)) != NULL;
    return 0;
}

int mlx_device_count(int *count, mlx_device_type type)
{
    *NX_POINTER(count) = nx_device_count(type == MLX_GPU ? NX_GPU : NX_CPU);
    return 0;
}

/* Information: a map from names to strings, and one to sizes. */

typedef struct {
    nx_map strings; /* char * */
    nx_map sizes;
} info;

static void info_clear(info *i)
{
    nx_map_drop_strings(&i->strings);
    nx_map_clear(&i->sizes);
}

/* The processor's name as it gives it itself, "" where it does not. */
static void cpu_name(char name[64])
{
    memset(name, 0, 64);
#if defined(__x86_64__) || defined(__i386__)
    unsigned r[12], max = __get_cpuid_max(0x80000000u, NULL);
    if (max < 0x80000004u)
        return;
    for (unsigned i = 0; i < 3; i++)
        __get_cpuid(0x80000002u + i, &r[i * 4], &r[i * 4 + 1], &r[i * 4 + 2], &r[i * 4 + 3]);
    memcpy(name, r, sizeof r);
#endif
    size_t n = strlen(name);
    while (n && name[n - 1] == ' ')
        name[--n] = '\0';
}

static void info_fill_cpu(info *i)
{
    struct utsname system;
    char name[64];
    const char *machine = uname(&system) == 0 ? system.machine : "unknown";
    cpu_name(name);
    nx_map_put_string(&i->strings, "architecture", machine);
    nx_map_put_string(&i->strings, "device_name", name[0] ? name : machine);
}

static void info_fill_gpu(info *i, const nx_backend *gpu)
{
    nx_map_put_string(&i->strings, "architecture", gpu->level());
    nx_map_put_string(&i->strings, "device_name", gpu->name);
}

mlx_device_info mlx_device_info_new(void)
{
    return (mlx_device_info){NULL};
}

int mlx_device_info_get(mlx_device_info *res, mlx_device dev)
{
    nx_device d = DEVICE(dev);
    NX_POINTER(res);
    if (!res->ctx)
        res->ctx = nx_calloc(1, sizeof(info));
    info_clear(res->ctx);
    const nx_backend *there = nx_device_backend(d);
    if (there && d.type == NX_CPU)
        info_fill_cpu(res->ctx);
    else if (there)
        info_fill_gpu(res->ctx, there);
    return 0;
}

int mlx_device_info_free(mlx_device_info i)
{
    if (i.ctx)
        info_clear(i.ctx);
    free(i.ctx);
    return 0;
}

static nx_map_entry *lookup(const nx_map *map, const char *key)
{
    return nx_map_find(map, key, strlen(key));
}

int mlx_device_info_has_key(bool *exists, mlx_device_info dev_info, const char *key)
{
    info *i = NX_OBJECT(info, dev_info);
    *NX_POINTER(exists) = lookup(&i->strings, NX_POINTER(key)) || lookup(&i->sizes, key);
    return 0;
}

int mlx_device_info_is_string(bool *is_string, mlx_device_info dev_info, const char *key)
{
    info *i = NX_OBJECT(info, dev_info);
    bool found = lookup(&i->strings, NX_POINTER(key)) != NULL;
    if (!found && !lookup(&i->sizes, key))
        return 2;
    *NX_POINTER(is_string) = found;
    return 0;
}

int mlx_device_info_get_string(const char **value, mlx_device_info dev_info, const char *key)
{
    nx_map_entry *e = lookup(&NX_OBJECT(info, dev_info)->strings, NX_POINTER(key));
    if (!e)
        return 2;
    *NX_POINTER(value) = (const char *)(uintptr_t)e->value;
    return 0;
}

int mlx_device_info_get_size(size_t *value, mlx_device_info dev_info, const char *key)
{
    nx_map_entry *e = lookup(&NX_OBJECT(info, dev_info)->sizes, NX_POINTER(key));
    if (!e)
        return 2;
    *NX_POINTER(value) = (size_t)e->value;
    return 0;
}

int mlx_device_info_get_keys(mlx_vector_string *keys, mlx_device_info dev_info)
{
    info *i = NX_OBJECT(info, dev_info);
    NX_POINTER(keys);
    mlx_vector_string names = mlx_vector_string_new();
    for (size_t k = 0; k < i->strings.n; k++)
        mlx_vector_string_append_value(names, i->strings.entries[k].key);
    for (size_t k = 0; k < i->sizes.n; k++)
        mlx_vector_string_append_value(names, i->sizes.entries[k].key);
    mlx_vector_string_set(keys, names);
    return mlx_vector_string_free(names);
}
