#include "runtime/convert/plan.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/error.h"
#include "base/ggml_types.h"
#include "runtime/convert/allot.h"
#include "runtime/convert/blocks.h"
#include "runtime/convert/codes.h"
#include "runtime/convert/divide.h"
#include "runtime/convert/family_keys.h"

const char *plan_role(const item *t)
{
    const char *name = t->row->gguf ? t->row->gguf : "";
    return strncmp(name, "blk.%d.", 7) == 0 ? name + 7 : name;
}

bool plan_quantizes(const item *t)
{
    const char *role = plan_role(t);
    bool matrix = !t->vector && (t->ndim == 2 || t->ndim == 0 || t->experts);
    return matrix && !(t->row->flags & WEIGHT_NUMBERS) && !strstr(role, "ffn_gate_inp") &&
           !strstr(role, "position_embd") && !strstr(role, "token_types") && !strstr(role, "_norm");
}

bool plan_turned_taps(const item *t)
{
    return t->row->flags & WEIGHT_NUMBERS && t->row->hf && strstr(t->row->hf, "conv") && t->ndim == 3 &&
           t->shape[2] <= t->shape[1];
}

/* ---- what is asked for ------------------------------------------------------------------------ */

/* "Q4_K_M": the type of most matrices, and of those that matter more. */
typedef struct {
    int type, better; /* nx_ggml_ids; better: of the first and last layers' values and outputs */
} blend;

static int type_named(const char *name)
{
    const nx_ggml_type *t = nx_ggml_type_named(name);
    return t && blocks_known((int)t->id) ? (int)t->id : -1;
}

static bool blend_named(const char *name, blend *out)
{
    static const struct {
        const char *name;
        blend blend;
    } mixed[] = {
        {"Q2_K_S", {NX_GGML_Q2_K, NX_GGML_Q4_K}}, {"Q3_K_S", {NX_GGML_Q3_K, NX_GGML_Q3_K}},
        {"Q3_K_M", {NX_GGML_Q3_K, NX_GGML_Q4_K}}, {"Q3_K_L", {NX_GGML_Q3_K, NX_GGML_Q5_K}},
        {"Q4_K_S", {NX_GGML_Q4_K, NX_GGML_Q5_K}}, {"Q4_K_M", {NX_GGML_Q4_K, NX_GGML_Q6_K}},
        {"Q5_K_S", {NX_GGML_Q5_K, NX_GGML_Q5_K}}, {"Q5_K_M", {NX_GGML_Q5_K, NX_GGML_Q6_K}},
    };
    for (size_t i = 0; i < sizeof mixed / sizeof *mixed; i++)
        if (strcasecmp(name, mixed[i].name) == 0) {
            *out = mixed[i].blend;
            return true;
        }
    out->type = out->better = type_named(name);
    return out->type >= 0 ||
           nx_fail("the type '%s' is not known; there are F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, "
                   "Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, and the mixtures Q3_K_S, _M, _L, Q4_K_S, _M, Q5_K_S "
                   "and _M", name);
}

static bool is_float(int type)
{
    return type == NX_GGML_F32 || type == NX_GGML_F16 || type == NX_GGML_BF16;
}

/* Layers that matter more: the first and last eighth, and every third between. */
static bool outer_layer(int i, int n)
{
    return i < n / 8 || i >= 7 * n / 8 || (i - n / 8) % 3 == 2;
}

static bool matters(const plan *p, const item *t)
{
    const char *role = plan_role(t);
    bool tied = true;
    for (size_t i = 0; i < p->items.n; i++)
        tied = tied && strcmp(plan_role(&p->items.at[i]), "output.weight") != 0;
    if (strcmp(role, "output.weight") == 0 || (tied && strcmp(role, "token_embd.weight") == 0))
        return true;
    bool layer = t->row->flags & WEIGHT_LAYER && outer_layer(t->layer, p->m->n_layers);
    return layer && (strncmp(role, "attn_v.", 7) == 0 || strncmp(role, "ffn_down", 8) == 0);
}

/* A block type whose blocks do not divide the rows gives way to the nearest of 32 that do. */
static int type_for_cols(int type, int64_t cols)
{
    const nx_ggml_type *t = nx_ggml_type_find((uint32_t)type);
    if (cols % t->block_elements == 0)
        return type;
    if (cols % 32)
        return NX_GGML_F16;
    switch (type) {
    case NX_GGML_Q4_K: return NX_GGML_Q5_0;
    case NX_GGML_Q5_K: return NX_GGML_Q5_1;
    case NX_GGML_Q6_K: return NX_GGML_Q8_0;
    default: return NX_GGML_Q4_0;
    }
}

/* Groups that divide the rows, the asked one or the next smaller; 0: none. */
static int group_for_cols(int group, int64_t cols, const char *mode)
{
    while (group > 16 && cols % group)
        group /= 2;
    bool affine = strcmp(mode, "affine") == 0;
    return cols % group || (affine && group < 32) || cols % 32 ? 0 : group;
}

static storage plain(int type)
{
    return (storage){.form = OUT_PLAIN, .type = type};
}

/* The type that floats of the target have where the source has blocks or another format's floats. */
static int float_type(const plan *p)
{
    bool half = false;
    for (size_t i = 0; i < p->items.n; i++) {
        const item *t = &p->items.at[i];
        if (!plan_quantizes(t))
            continue;
        if (t->parts[0].form == ITEM_PLAIN && t->type == NX_GGML_F32)
            return NX_GGML_F32;
        half = half || (t->type == NX_GGML_BF16 && t->parts[0].form != ITEM_BLOCKS);
    }
    return half ? NX_GGML_BF16 : NX_GGML_F16;
}

/* ---- nearest to the source -------------------------------------------------------------------- */

static storage affine(int bits, int group, const char *mode, int scales)
{
    return (storage){OUT_AFFINE, scales == NX_GGML_F32 ? NX_GGML_F16 : scales, bits, group, mode};
}

static storage nearest_mlx(const plan *p, const item *t)
{
    const item_part *a = &t->parts[0];
    int bits, group, floats = float_type(p);
    if (a->form == ITEM_AFFINE)
        return (storage){OUT_AFFINE, t->type, a->bits, a->group_size, a->mode};
    if (item_is_mxfp4(t))
        return affine(4, 32, "mxfp4", NX_GGML_F16);
    if (codes_of(t, &bits, &group))
        return affine(bits, group, "affine", NX_GGML_F16);
    if (a->form == ITEM_BLOCKS) {
        double stored = nx_ggml_type_bits(nx_ggml_type_find((uint32_t)t->type));
        return affine(stored < 3 ? 3 : stored < 5 ? 4 : 8, t->type == NX_GGML_Q6_K ? 64 : 32, "affine",
                      NX_GGML_F16);
    }
    return plain(p->source == TARGET_GGUF ? floats : t->type);
}

static storage nearest_gguf(const item *t)
{
    const item_part *a = &t->parts[0];
    int bits = a->bits;
    if (a->form == ITEM_PLAIN)
        return plain(t->type);
    if (a->form == ITEM_BLOCKS)
        return (storage){.form = OUT_BLOCKS, .type = t->type};
    if (item_is_mxfp4(t))
        return (storage){.form = OUT_BLOCKS, .type = NX_GGML_MXFP4};
    bool exact = a->form == ITEM_FOREIGN || strcmp(a->mode, "affine") == 0;
    return (storage){.form = OUT_BLOCKS, .type = !exact || bits > 5 ? NX_GGML_Q8_0
                                                 : bits > 4       ? NX_GGML_Q5_1
                                                                  : NX_GGML_Q4_1};
}

/* A matrix's storage where nothing is asked for. */
static storage nearest(const plan *p, const item *t)
{
    if (p->target == TARGET_GGUF)
        return nearest_gguf(t);
    if (p->target == TARGET_MLX)
        return nearest_mlx(p, t);
    return plain(t->parts[0].form == ITEM_PLAIN && p->source != TARGET_GGUF ? t->type : float_type(p));
}

/* ---- one weight ------------------------------------------------------------------------------- */

static storage floats_of(const plan *p, const item *t)
{
    if (p->target == TARGET_GGUF) /* small tensors are float32 there */
        return plain(!t->vector && !strstr(plan_role(t), "ffn_gate_inp") && t->type != NX_GGML_F32 &&
                             t->parts[0].form == ITEM_PLAIN && plan_quantizes(t)
                         ? t->type
                         : NX_GGML_F32);
    return plain(p->source == TARGET_GGUF || t->parts[0].form != ITEM_PLAIN ? float_type(p) : t->type);
}

static bool recipe_bits(const char *recipe, int *low, int *high)
{
    return sscanf(recipe, "mixed_%d_%d", low, high) == 2 && *low >= 2 && *high <= 8 && *low <= *high
               ? true
               : nx_fail("the recipe '%s' is not known: write mixed_LOW_HIGH with bits, as mixed_4_6",
                         recipe);
}

static bool mlx_storage(const plan *p, const item *t, const plan_request *ask, storage *out)
{
    const char *mode = ask->mode ? ask->mode : "affine";
    int bits = ask->bits, group = ask->group, have_bits, have_group, low, high;
    bool is_affine = strcmp(mode, "affine") == 0;
    if (ask->recipe) {
        if (!recipe_bits(ask->recipe, &low, &high))
            return false;
        bits = matters(p, t) ? high : low;
    }
    bits = bits ? bits : strcmp(mode, "mxfp8") == 0 ? 8 : 4;
    if (!group && is_affine && codes_of(t, &have_bits, &have_group) && have_bits == bits)
        group = have_group; /* then nothing is lost */
    group = group ? group : is_affine ? 64 : strcmp(mode, "nvfp4") == 0 ? 16 : 32;
    group = group_for_cols(group, item_cols(t), mode);
    int scales = t->parts[0].form == ITEM_PLAIN || t->parts[0].form == ITEM_AFFINE ? t->type : NX_GGML_F16;
    *out = group ? affine(bits, group, mode, scales) : floats_of(p, t);
    return true;
}

static bool choose(const plan *p, const item *t, const plan_request *ask, storage *out)
{
    blend b;
    if (!plan_quantizes(t)) { /* what a source quantized all the same stays so, unless floats are asked for */
        bool keep = p->target == TARGET_MLX && t->parts[0].form == ITEM_AFFINE && !ask->type;
        *out = keep ? nearest(p, t) : floats_of(p, t);
        return true;
    }
    if (ask->type) {
        if (!blend_named(ask->type, &b))
            return false;
        int type = matters(p, t) ? b.better : b.type;
        if (!is_float(type) && p->target != TARGET_GGUF)
            return nx_fail("the type %s is GGUF's: give --bits for mlx, or --to gguf", ask->type);
        type = is_float(type) ? type : type_for_cols(type, item_cols(t));
        *out = is_float(type) ? plain(type) : (storage){.form = OUT_BLOCKS, .type = type};
        return true;
    }
    if (p->target == TARGET_MLX && (ask->bits || ask->mode || ask->recipe))
        return mlx_storage(p, t, ask, out);
    *out = nearest(p, t);
    if (out->form == OUT_BLOCKS && t->parts[0].form != ITEM_BLOCKS)
        out->type = type_for_cols(out->type, item_cols(t));
    return true;
}

static bool same_mode(const storage *a, const item_part *b)
{
    return a->bits == b->bits && a->group == b->group_size && strcmp(a->mode, b->mode) == 0;
}

static out_how how_to(const item *t, const storage *as)
{
    int bits, group;
    const item_part *a = &t->parts[0];
    bool changed = t->turned || t->shift != 0 || t->log;
    if (changed)
        return HOW_NUMBERS;
    if (as->form == OUT_AFFINE && a->form == ITEM_AFFINE && same_mode(as, a) && as->type == t->type)
        return HOW_COPY;
    if (as->form != OUT_AFFINE && a->form != ITEM_AFFINE && a->form != ITEM_FOREIGN && as->type == t->type)
        return HOW_COPY;
    if (item_is_mxfp4(t) && (as->form == OUT_BLOCKS ? as->type == NX_GGML_MXFP4
                                                    : as->form == OUT_AFFINE && strcmp(as->mode, "mxfp4") == 0))
        return HOW_MXFP4;
    if (!codes_of(t, &bits, &group))
        return HOW_NUMBERS;
    if (as->form == OUT_AFFINE && bits == as->bits && group == as->group &&
        strcmp(as->mode, "affine") == 0)
        return HOW_CODES;
    if (as->form == OUT_BLOCKS && a->form != ITEM_BLOCKS && group % 32 == 0 &&
        ((as->type == NX_GGML_Q4_1 && bits <= 4) || (as->type == NX_GGML_Q5_1 && bits <= 5)))
        return HOW_CODES;
    return HOW_NUMBERS;
}

/* ---- names and shapes ------------------------------------------------------------------------- */

/* Hugging Face's folders have [C, 1, K]. */
static bool shape_of_taps(const plan *p, out_tensor *o, const item *t)
{
    if (p->target != TARGET_HF || !plan_turned_taps(t))
        return false;
    o->ndim = 3;
    o->shape[0] = (uint64_t)t->shape[0];
    o->shape[1] = 1;
    o->shape[2] = (uint64_t)t->shape[1];
    return true;
}

/* Taps of convolutions: GGUF's [C, K] is [C, 1, K] in Hugging Face's folders, [C, K, 1] in MLX's. State
 * spaces: GGUF has a number a head as [H, 1], a norm by its groups. */
static bool shape_of_space(const plan *p, out_tensor *o, const item *t)
{
    const char *role = plan_role(t);
    bool to = p->target == TARGET_GGUF;
    uint64_t n = (uint64_t)o->rows * (uint64_t)o->cols;
    if (to == (p->source == TARGET_GGUF) || !(t->row->flags & WEIGHT_NUMBERS))
        return false;
    if (strstr(role, "conv") && strstr(role, ".weight")) {
        uint64_t taps = t->ndim == 3 && t->shape[2] == 1 ? (uint64_t)t->shape[1] : (uint64_t)o->cols;
        uint64_t third = p->target == TARGET_HF ? taps : 1;
        o->shape[0] = n / taps;
        o->shape[1] = to || third == 1 ? taps : 1;
        o->shape[2] = third;
        o->ndim = to ? 2 : 3;
    } else if (strcmp(role, "ssm_a") == 0 || strcmp(role, "ssm_d") == 0) {
        o->shape[0] = n;
        o->shape[1] = 1;
        o->ndim = to ? 2 : 1;
    } else if (strcmp(role, "ssm_norm.weight") == 0) {
        double groups = 1;
        family_member(p->m, "ssm.group_count", &groups);
        o->shape[0] = to ? (uint64_t)groups : n;
        o->shape[1] = n / o->shape[0];
        o->ndim = to ? 2 : 1;
    } else {
        return false;
    }
    return true;
}

static void shape_matrix(out_tensor *o, const item *t, int experts)
{
    if (t->ndim > 2 && !t->experts) { /* kept as it is */
        o->ndim = t->ndim;
        for (int i = 0; i < t->ndim; i++)
            o->shape[i] = (uint64_t)t->shape[i];
        return;
    }
    int n = 0;
    if (experts)
        o->shape[n++] = (uint64_t)experts;
    o->shape[n++] = (uint64_t)o->rows / (uint64_t)(experts ? experts : 1);
    if (!t->vector)
        o->shape[n++] = (uint64_t)o->cols;
    o->ndim = n;
}

/* expert -1: the whole. */
static bool add_out(plan *p, item *t, storage as, int expert)
{
    out_tensor o = {.t = t, .as = as, .how = how_to(t, &as)};
    bool gguf = p->target == TARGET_GGUF;
    bool same_names = (p->source == TARGET_GGUF) == gguf && t->row == t->stored;
    int64_t rows = item_rows(t) / (expert >= 0 ? t->experts : 1);
    o.rows = rows;
    o.cols = item_cols(t);
    o.begin = expert > 0 ? expert * rows : 0;
    if (same_names && (t->n_parts == 1) == (expert < 0))
        snprintf(o.name, sizeof o.name, "%s", t->parts[expert > 0 ? expert : 0].name);
    else if (!model_tensor_name(t->row, gguf, expert < 0, t->layer, expert < 0 ? 0 : expert,
                                same_names || t->row != t->stored ? NULL : t->parts[0].name, o.name, sizeof o.name))
        return nx_fail("tensor '%s' has no name in the target's format", t->parts[0].name);
    if (!shape_of_space(p, &o, t) && !shape_of_taps(p, &o, t))
        shape_matrix(&o, t, expert < 0 ? t->experts : 0);
    nx_vec_push(&p->tensors, o);
    return true;
}

/* Corrections of the rotation, which config.json has as settings. */
static bool is_setting(const plan *p, const item *t)
{
    return p->target != TARGET_GGUF && !t->row->hf;
}

/* What GGUF has in several tensors, and MLX where it has names for them. */
static bool divides(const void *arg, const item *t)
{
    const plan *p = arg;
    return p->source != TARGET_GGUF && p->target != TARGET_HF &&
           item_divides(t, p->m->arch, p->target == TARGET_GGUF);
}

static bool is_turned(const weight_row *row, target_format at)
{
    return row->flags & WEIGHT_TURNED && at != TARGET_GGUF && !(row->flags & WEIGHT_NOT_MLX && at == TARGET_MLX);
}

static void prepare(plan *p, item *t)
{
    const char *role = plan_role(t);
    bool to = p->target == TARGET_GGUF, from = p->source == TARGET_GGUF;
    unsigned flags = t->row->flags;
    if (to == from)
        return;
    if (p->kin->flags & FAMILY_PAIRS && strncmp(role, "attn_q.", 7) == 0)
        t->pair_heads = p->m->n_heads;
    if (p->kin->flags & FAMILY_PAIRS && strncmp(role, "attn_k.", 7) == 0)
        t->pair_heads = p->m->n_kv_heads;
    if (t->pair_heads && t->rows % t->pair_heads)
        t->pair_heads = 0;
    if (p->kin->flags & FAMILY_GROUPED && strncmp(role, "attn_qkv.", 9) == 0) {
        t->kv_groups = p->m->n_kv_heads;
        t->kv_share = p->m->n_heads / p->m->n_kv_heads;
    }
    if (flags & WEIGHT_PLUS_ONE)
        t->shift = to ? 1 : -1;
    if (flags & WEIGHT_LOG)
        t->log = to ? 1 : -1;
}

static bool add_item(plan *p, item *t, const plan_request *ask, const storage *allotted)
{
    storage as;
    if (p->target == TARGET_HF && (t->parts[0].words.data || item_is_share(t, p->m->arch)))
        return nx_fail("[%s] '%s': Hugging Face's folders have such experts in one matrix or in blocks, which are not "
                       "written yet: convert to mlx or gguf", p->from->path, t->parts[0].name);
    if (allotted && plan_quantizes(t))
        as = *allotted;
    else if (!choose(p, t, ask, &as))
        return false;
    bool split = t->experts && p->target == TARGET_HF;
    char name[300];
    split = split && model_tensor_name(t->row, false, false, 0, 0, NULL, name, sizeof name) &&
            strstr(t->row->hf, "%e");
    for (int e = 0; split && e < t->experts; e++)
        if (!add_out(p, t, as, e))
            return false;
    return split || add_out(p, t, as, -1);
}

static uint64_t plain_bytes(int type, uint64_t n)
{
    const nx_ggml_type *t = nx_ggml_type_find((uint32_t)type);
    return n / t->block_elements * t->block_bytes;
}

uint64_t out_bytes(const out_tensor *o, uint64_t parts[3])
{
    uint64_t n = (uint64_t)o->rows * (uint64_t)o->cols;
    parts[1] = parts[2] = 0;
    if (o->as.form != OUT_AFFINE)
        return parts[0] = plain_bytes(o->as.type, n);
    parts[0] = n / 8 * (uint64_t)o->as.bits;
    bool is_affine = strcmp(o->as.mode, "affine") == 0;
    parts[1] = n / (uint64_t)o->as.group * (is_affine ? o->as.type == NX_GGML_F32 ? 4 : 2 : 1);
    parts[2] = is_affine ? parts[1] : 0;
    return parts[0] + parts[1] + parts[2];
}

static bool same_storage(const storage *a, const storage *b)
{
    return a->form == b->form && a->type == b->type && a->bits == b->bits && a->group == b->group &&
           (a->form != OUT_AFFINE || strcmp(a->mode, b->mode) == 0);
}

/* The storage with the most numbers, of quantized ones if there are any. */
static void find_usual(plan *p)
{
    struct {
        storage as;
        uint64_t n;
    } kinds[64] = {{.n = 0}};
    size_t best = 0, n_kinds = 0;
    for (size_t i = 0; i < p->tensors.n; i++) {
        const out_tensor *o = &p->tensors.at[i];
        size_t k = 0;
        while (k < n_kinds && !same_storage(&kinds[k].as, &o->as))
            k++;
        if (k == sizeof kinds / sizeof *kinds)
            continue;
        n_kinds += k == n_kinds;
        kinds[k].as = o->as;
        kinds[k].n += (uint64_t)o->rows * (uint64_t)o->cols;
    }
    for (size_t k = 1; k < n_kinds; k++) {
        bool quantized = kinds[k].as.form != OUT_PLAIN, was = kinds[best].as.form != OUT_PLAIN;
        if (quantized == was ? kinds[k].n > kinds[best].n : quantized)
            best = k;
    }
    p->usual = kinds[best].as;
}

static bool list_tensors(plan *p, const plan_request *ask)
{
    storage *allotted = NULL;
    for (size_t i = 0; i < p->items.n; i++) {
        item *t = &p->items.at[i];
        bool whole = !divides(p, t); /* no share is turned */
        t->turned = is_turned(t->stored, p->source) != (whole && is_turned(t->stored, p->target));
    }
    if (!items_divide(&p->items, p->m, divides, p))
        return false;
    for (size_t i = 0; i < p->items.n; i++)
        prepare(p, &p->items.at[i]);
    if (ask->target_bpw > 0 && !(allotted = allot_bits(p, ask)))
        return false;
    bool ok = true;
    for (size_t i = 0; i < p->items.n && ok; i++)
        ok = is_setting(p, &p->items.at[i]) ||
             add_item(p, &p->items.at[i], ask, allotted ? &allotted[i] : NULL);
    free(allotted);
    return ok;
}

static bool known_for_gguf(plan *p)
{
    if (p->source != TARGET_GGUF && p->target != TARGET_GGUF)
        return true;
    p->kin = p->source == TARGET_GGUF ? family_of_gguf(p->from->config.gguf, p->from->arch, p->m->n_experts > 0)
                                      : family_of_config(p->from->arch);
    if (p->kin && p->target != TARGET_GGUF && p->kin->flags & FAMILY_DIVIDED)
        return nx_fail("[%s] a GGUF file of the family '%s' does not become a folder yet: GGUF divides matrices that a "
                       "folder has in one", p->from->path, p->kin->model_type);
    return p->kin != NULL || nx_fail_in("[%s]", p->from->path);
}

bool plan_make(plan *p, package *from, model *m, const plan_request *ask)
{
    *p = (plan){.from = from, .m = m, .target = ask->to, .importance = ask->importance};
    const char *format = package_format(from);
    p->source = strcmp(format, "gguf") == 0 ? TARGET_GGUF
                : strcmp(format, "mlx") == 0 ? TARGET_MLX : TARGET_HF;
    bool ok = known_for_gguf(p) && items_list(&p->items, from, m) && list_tensors(p, ask);
    uint64_t parts[3];
    for (size_t i = 0; ok && i < p->tensors.n; i++) {
        const out_tensor *o = &p->tensors.at[i];
        p->bytes += out_bytes(o, parts);
        p->parameters += (uint64_t)o->rows * (uint64_t)o->cols;
    }
    if (ok)
        find_usual(p);
    else
        plan_clear(p);
    return ok;
}

void plan_clear(plan *p)
{
    items_clear(&p->items);
    nx_vec_clear(&p->tensors);
}
