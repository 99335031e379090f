/*
 * convert.c: nexus_convert: from any format to any other: what is there is planned whole, then
 * written a few rows at a time.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/error.h"
#include "runtime/convert/importance.h"
#include "runtime/convert/place.h"
#include "runtime/convert/write.h"

static bool target_named(const char *to, const char *path, const package *from, target_format *out)
{
    if (!to)
        to = nx_ends_with(path, ".gguf") ? "gguf" : from->is_gguf ? "mlx" : package_format(from);
    if (strcasecmp(to, "gguf") == 0)
        *out = TARGET_GGUF;
    else if (strcasecmp(to, "mlx") == 0)
        *out = TARGET_MLX;
    else if (strcasecmp(to, "hf") == 0 || strcasecmp(to, "huggingface") == 0)
        *out = TARGET_HF;
    else
        return nx_fail("the format '%s' is not known: mlx, hf or gguf", to);
    if (*out == TARGET_GGUF && !nx_ends_with(path, ".gguf"))
        return nx_fail("[%s] a GGUF file's name must end with .gguf", path);
    if (*out != TARGET_GGUF && nx_ends_with(path, ".gguf"))
        return nx_fail("[%s] is named like a GGUF file, and a folder is asked for", path);
    return true;
}

static bool check_affine(const nexus_convert_options *o)
{
    static const struct {
        const char *mode;
        int group;
        unsigned bits; /* a bit each that may be */
    } modes[] = {{"affine", 0, 1 << 2 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 8}, {"mxfp4", 32, 1 << 4},
                 {"mxfp8", 32, 1 << 8}, {"nvfp4", 16, 1 << 4}};
    const char *mode = o->mode ? o->mode : "affine";
    size_t i = 0;
    while (i < 4 && strcmp(modes[i].mode, mode) != 0)
        i++;
    if (i == 4)
        return nx_fail("the mode '%s' is not known: affine, mxfp4, mxfp8 or nvfp4", mode);
    if (o->bits && (o->bits < 2 || o->bits > 8 || !(modes[i].bits >> o->bits & 1)))
        return nx_fail("%s with %d bits there is not", mode, o->bits);
    bool group = !o->group_size || (modes[i].group ? o->group_size == modes[i].group
                                                   : o->group_size == 32 || o->group_size == 64 ||
                                                         o->group_size == 128);
    return group || nx_fail("%s in groups of %d there is not", mode, o->group_size);
}

static bool check_request(const nexus_convert_options *o, target_format to)
{
    bool mlx_words = o->bits || o->group_size || o->mode || o->recipe;
    if (o->type && mlx_words)
        return nx_fail("--type names GGUF's types; --bits, --group, --mode and --recipe are for mlx");
    if (mlx_words && to != TARGET_MLX)
        return nx_fail("--bits, --group, --mode and --recipe are for mlx%s",
                       to == TARGET_GGUF ? ": give a --type, as Q4_K_M" : "");
    if (o->target_bpw != 0 && (o->type || mlx_words))
        return nx_fail("--target-bpw chooses the types itself");
    if (o->target_bpw != 0 && (o->target_bpw < 2 || o->target_bpw > 16 || to == TARGET_HF))
        return nx_fail("--target-bpw is from 2 to 16, for mlx and gguf");
    return check_affine(o);
}

typedef struct {
    const nexus_convert_options *o;
    const plan *plan;
    bool stopped;
    double shown;
} teller;

static bool tell(void *arg, uint64_t bytes)
{
    teller *t = arg;
    double done = t->plan->bytes ? (double)bytes / (double)t->plan->bytes : 1;
    if (!t->o->progress || done - t->shown < 0.001)
        return true;
    t->shown = done;
    t->stopped = !t->o->progress(done > 1 ? 1 : done, t->o->user);
    return !t->stopped;
}

static bool same_place(const package *p, const char *target)
{
    return strcmp(p->path, target) == 0;
}

static bool write_all(plan *p, const nexus_convert_options *o, const char *target, teller *t)
{
    place at = {0};
    shard_ends shards = {0};
    uint64_t most = o->shard_bytes ? o->shard_bytes : p->target == TARGET_GGUF ? 0 : 5000000000u;
    write_shards(p, most, &shards);
    emitter e = {.plan = p, .progress = tell, .progress_arg = t};
    bool ok = place_open(&at, target, p->bytes, o->replace);
    if (ok && p->target == TARGET_GGUF) {
        char *name = nx_strndup(at.name, strlen(at.name) - 5);
        ok = write_gguf(&e, at.folder, name, &shards) && place_commit_files(&at);
        free(name);
    } else if (ok) {
        ok = write_folder(&e, at.folder, &shards) && place_commit_folder(&at);
    }
    place_clear(&at);
    nx_vec_clear(&shards);
    return ok;
}

static nexus_status run(package *from, model *m, const char *target, const nexus_convert_options *o,
                        nexus_convert_result *result)
{
    plan p;
    teller t = {.o = o, .plan = &p};
    plan_request ask = {.type = o->type, .bits = o->bits, .group = o->group_size, .mode = o->mode,
                        .recipe = o->recipe, .target_bpw = o->target_bpw};
    if (!target_named(o->to, target, from, &ask.to) || !check_request(o, ask.to))
        return NEXUS_ERROR_ARGUMENT;
    if (same_place(from, target)) {
        nx_fail("[%s] cannot be converted in its own place: name another target", target);
        return NEXUS_ERROR_ARGUMENT;
    }
    if (o->calibration &&
        !(ask.importance = importance_measure(from->path, o->calibration, o->calibration_length,
                                              o->progress, o->user)))
        return NEXUS_ERROR;
    nexus_status status = NEXUS_ERROR_UNSUPPORTED;
    if (plan_make(&p, from, m, &ask)) {
        bool ok = write_all(&p, o, target, &t);
        status = ok ? NEXUS_OK : t.stopped ? NEXUS_ERROR_CANCELLED : NEXUS_ERROR;
        if (t.stopped)
            nx_fail("the conversion was stopped; nothing of it remains");
        if (ok && result)
            *result = (nexus_convert_result){
                .bytes = p.bytes, .parameters = p.parameters, .rounded_scales = p.rounded,
                .bits_per_weight = p.parameters ? 8.0 * (double)p.bytes / (double)p.parameters : 0};
        plan_clear(&p);
    }
    importance_free(ask.importance);
    return status;
}

nexus_status nexus_convert(const char *source, const char *target, const nexus_convert_options *options,
                           nexus_convert_result *result)
{
    const nexus_convert_options none = {0};
    package from;
    if (!target || !*target) {
        nx_fail("no target was named: give the path of a folder, or of a .gguf file");
        return NEXUS_ERROR_ARGUMENT;
    }
    nexus_status status = package_open(&from, source);
    if (status)
        return status;
    model *m = model_configure(&from.config);
    if (m) {
        status = run(&from, m, target, options ? options : &none, result);
    } else {
        nx_fail_in("[%s]", from.path);
        status = model_arch_find(from.arch) ? NEXUS_ERROR_FORMAT : NEXUS_ERROR_UNSUPPORTED;
    }
    model_free(m);
    package_clear(&from);
    return status;
}
