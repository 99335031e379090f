#include "runtime/convert/onload.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/ggml_types.h"
#include "base/os.h"
#include "base/sha256.h"
#include "runtime/catalog/estimate.h"
#include "runtime/catalog/package.h"

enum { VERSION = 1, DEFAULT_GROUP = 64 };

/* ---- which bits ------------------------------------------------------------------------------- */

int onload_bits(uint64_t parameters, bool (*fits)(int bits, void *arg), void *arg)
{
    static const int steps[] = {16, 8, 6, 4, 3};
    size_t n = sizeof steps / sizeof *steps, i = parameters > 9500000000u ? 3 : 0;
    while (i + 1 < n && !fits(steps[i], arg))
        i++;
    return steps[i];
}

typedef struct {
    memory_shape shape;
    uint64_t parameters, available;
    int context;
    nn_cache_form cache;
} room;

static bool fits(int bits, void *arg)
{
    const room *r = arg;
    memory_shape s = r->shape;
    uint64_t halved = 2 * r->parameters;
    if (bits < 16)
        s.file_bytes = estimate_quantized(r->parameters, r->parameters, bits);
    else if (s.file_bytes > halved)
        s.file_bytes = halved;
    s.turned_bytes = 0;
    return estimate_memory(&s, r->context, r->cache) <= r->available;
}

/* Whether all its matrices are floats; *wide: of 32 bits. */
static bool full_precision(const package *p, bool *wide)
{
    *wide = false;
    if (p->quant.block || p->quant.foreign)
        return false;
    for (size_t i = 0; i < p->source.tensors.n; i++) {
        const nn_tensor *t = &p->source.tensors.at[i];
        if (t->ndim < 2)
            continue;
        if (t->dtype != MLX_FLOAT32 && t->dtype != MLX_FLOAT16 && t->dtype != MLX_BFLOAT16)
            return false;
        *wide = *wide || t->dtype == MLX_FLOAT32;
    }
    return true;
}

typedef struct {
    int bits, group; /* 16: halves */
} choice;

static bool parse(const char *text, choice *out)
{
    char end;
    int n = sscanf(text, "%d:%d%c", &out->bits, &out->group, &end);
    out->group = n < 2 ? DEFAULT_GROUP : out->group;
    bool bits = out->bits == 16 || (out->bits >= 2 && out->bits <= 8 && out->bits != 7);
    bool group = out->group == 32 || out->group == 64 || out->group == 128;
    bool shape = n == 2 || (n == 1 && !strchr(text, ':') && strspn(text, "0123456789") == strlen(text));
    return (shape && bits && group) ||
           nx_fail("--quantize %s: write auto, or BITS or BITS:GROUP as 4:64 (bits 2 to 6, 8 or 16; groups "
                   "of 32, 64 or 128)", text);
}

static nexus_status choose(package *p, const nexus_load_options *o, bool wide, choice *out)
{
    if (strcmp(o->quantize, "auto") != 0)
        return parse(o->quantize, out) ? NEXUS_OK : NEXUS_ERROR_ARGUMENT;
    model *m = model_configure(&p->config);
    model_facts facts;
    nexus_memory memory;
    *out = (choice){16, DEFAULT_GROUP};
    if (!m)
        return NEXUS_ERROR_UNSUPPORTED;
    bool ok = model_inspect_weights(m, &p->source, p->quant, p->is_gguf, &facts);
    room r = {.shape = package_shape(p, m), .context = package_context(m, o->context)};
    r.parameters = ok ? facts.parameters : 0;
    ok = ok && nn_cache_type(o->cache_type, &r.cache);
    if (ok && nexus_memory_now(&memory) == NEXUS_OK) {
        r.available = memory.available;
        out->bits = onload_bits(facts.parameters, fits, &r);
        memory_shape as_is = r.shape;
        if (out->bits == 16 && wide && facts.parameters <= 3500000000u &&
            estimate_memory(&as_is, r.context, r.cache) <= r.available)
            out->bits = 32; /* small, and there is room: as it is */
    }
    model_free(m);
    return ok ? NEXUS_OK : NEXUS_ERROR_FORMAT;
}

/* ---- the kept result -------------------------------------------------------------------------- */

static int64_t mtime_ns(const struct stat *st)
{
#ifdef __APPLE__
    return (int64_t)st->st_mtimespec.tv_sec * 1000000000 + st->st_mtimespec.tv_nsec;
#else
    return (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
#endif
}

/* cache/quantized/NAME-BITSbit-HASH: of the path, and size and time of every file of weights. */
static bool kept_path(const package *p, choice c, nx_str *out)
{
    nx_str key = {0};
    struct stat st;
    const nx_mapping *last = NULL;
    nx_str_printf(&key, "%d\n%s\n%d:%d\n", VERSION, p->path, c.bits, c.group);
    for (size_t i = 0; i < p->source.tensors.n; i++) {
        const nx_mapping *file = p->source.tensors.at[i].file;
        if (file == last)
            continue;
        last = file;
        if (stat(nx_mapping_path(file), &st) != 0)
            return nx_fail("[%s] cannot be looked at", nx_mapping_path(file));
        nx_str_printf(&key, "%s %lld %lld\n", nx_mapping_path(file), (long long)st.st_size,
                      (long long)mtime_ns(&st));
    }
    char hex[65];
    unsigned char digest[32];
    nx_sha256 hash;
    nx_sha256_init(&hash);
    nx_sha256_update(&hash, key.data, key.len);
    nx_sha256_final(&hash, digest);
    nx_sha256_hex(digest, hex);
    nx_str_clear(&key);
    nx_str below = {0};
    bool ok = nx_os_path(&below, NX_OS_CACHE, "quantized") && nx_os_mkdir_p(nx_str_cstr(&below), 0700);
    const char *name = strrchr(p->path, '/') ? strrchr(p->path, '/') + 1 : p->path;
    nx_str_printf(out, "%s/%.*s-%dbit-%.12s", nx_str_cstr(&below), (int)strcspn(name, "/"), name, c.bits, hex);
    nx_str_clear(&below);
    return ok;
}

static nexus_status make(const package *p, const nexus_load_options *o, choice c, const char *path,
                         nx_str *note)
{
    nexus_convert_options co = {.to = "mlx", .replace = true, .progress = o->progress, .user = o->user};
    nexus_convert_result made;
    if (c.bits == 16) {
        co.type = "bf16";
    } else {
        co.bits = c.bits;
        co.group_size = c.group;
    }
    double start = nx_os_seconds();
    nexus_status status = nexus_convert(p->path, path, &co, &made);
    if (!status)
        nx_str_printf(note, "%s is used with %d bits a weight (%.0f MB, made in %.1f s, kept in %s)", p->name,
                      c.bits, (double)made.bytes / 1e6, nx_os_seconds() - start, path);
    return status;
}

nexus_status onload_path(const char *name, const nexus_load_options *o, nx_str *path, nx_str *note)
{
    package p;
    choice c;
    bool wide;
    nexus_status status = package_open(&p, name);
    if (status)
        return status;
    bool full = full_precision(&p, &wide);
    status = choose(&p, o, wide, &c);
    if (!status && (!full || c.bits == 32 || (c.bits == 16 && !wide))) {
        nx_str_printf(note, "%s is used as it is%s", p.name, full ? "" : ": it is quantized already");
    } else if (!status) {
        nx_str kept = {0}, config = {0};
        if (!kept_path(&p, c, &kept))
            status = NEXUS_ERROR;
        nx_str_printf(&config, "%s/config.json", nx_str_cstr(&kept));
        if (!status && nx_os_is_file(nx_str_cstr(&config)))
            nx_str_printf(note, "%s is used with %d bits a weight, from %s", p.name, c.bits,
                          nx_str_cstr(&kept));
        else if (!status)
            status = make(&p, o, c, nx_str_cstr(&kept), note);
        if (!status)
            nx_str_add(path, kept.data, kept.len);
        nx_str_clear(&kept);
        nx_str_clear(&config);
    }
    package_clear(&p);
    return status;
}
