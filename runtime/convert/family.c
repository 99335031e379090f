#include "runtime/convert/family.h"

#include <string.h>

#include "base/error.h"

static const char silu[] = "{\"hidden_act\":\"silu\"}";
static const char silu_no_bias[] = "{\"hidden_act\":\"silu\",\"attention_bias\":false,\"mlp_bias\":false}";
static const char gelu[] = "{\"hidden_act\":\"gelu_pytorch_tanh\",\"hidden_activation\":"
                           "\"gelu_pytorch_tanh\",\"attention_bias\":false}";
static const char gelu_new[] = "{\"activation_function\":\"gelu_new\"}";
static const char gelu_tanh[] = "{\"hidden_act\":\"gelu_pytorch_tanh\",\"use_bias\":true}";

static const family families[] = {
    /* model_type, GGUF's architecture, class in config.json, flags, fixed settings */
    {"llama", "llama", "LlamaForCausalLM", FAMILY_PAIRS, silu_no_bias},
    {"mistral", "llama", "MistralForCausalLM", FAMILY_PAIRS, silu},
    {"mixtral", "llama", "MixtralForCausalLM", FAMILY_PAIRS | FAMILY_EXPERTS, silu},
    {"granite", "granite", "GraniteForCausalLM", FAMILY_PAIRS, silu_no_bias},
    {"minicpm", "minicpm", "MiniCPMForCausalLM", FAMILY_PAIRS, silu},
    {"smollm3", "smollm3", "SmolLM3ForCausalLM", FAMILY_PAIRS, silu_no_bias},
    {"ernie4_5", "ernie4_5", "Ernie4_5ForCausalLM", 0, silu},
    {"hunyuan_v1_dense", "hunyuan-dense", "HunYuanDenseV1ForCausalLM", 0, silu_no_bias},
    {"qwen2", "qwen2", "Qwen2ForCausalLM", 0, silu},
    {"qwen2_moe", "qwen2moe", "Qwen2MoeForCausalLM", FAMILY_EXPERTS, silu},
    {"qwen3", "qwen3", "Qwen3ForCausalLM", 0, silu},
    {"qwen3_moe", "qwen3moe", "Qwen3MoeForCausalLM", FAMILY_EXPERTS, silu},
    {"gemma", "gemma", "GemmaForCausalLM", 0, gelu},
    {"gemma2", "gemma2", "Gemma2ForCausalLM", 0, gelu},
    {"gemma3_text", "gemma3", "Gemma3ForCausalLM", 0, gelu},
    {"phi3", "phi3", "Phi3ForCausalLM", 0, silu},
    {"olmo2", "olmo2", "Olmo2ForCausalLM", 0, silu},
    {"olmoe", "olmoe", "OlmoeForCausalLM", FAMILY_EXPERTS, silu},
    {"glm4", "glm4", "Glm4ForCausalLM", 0, silu},
    {"cohere2", "cohere2", "Cohere2ForCausalLM", FAMILY_LAYER_NORM, silu},
    {"stablelm", "stablelm", "StableLmForCausalLM", FAMILY_LAYER_NORM, silu},
    {"starcoder2", "starcoder2", "Starcoder2ForCausalLM", FAMILY_LAYER_NORM, gelu_tanh},
    {"gpt2", "gpt2", "GPT2LMHeadModel", FAMILY_GPT2 | FAMILY_LAYER_NORM, gelu_new},
    {"internlm2", "internlm2", NULL, FAMILY_PAIRS | FAMILY_DIVIDED, NULL},
    {"gpt_oss", "gpt-oss", NULL, FAMILY_EXPERTS | FAMILY_EXPERT_SIZE | FAMILY_DIVIDED, NULL},
    {"exaone4", "exaone4", NULL, FAMILY_CARRIED, NULL},
    {"phimoe", "phimoe", NULL, FAMILY_CARRIED, NULL},
    {"glm4_moe", "glm4moe", NULL, FAMILY_CARRIED, NULL},
    {"deepseek_v2", "deepseek2", NULL, FAMILY_CARRIED, NULL},
    {"deepseek_v3", "deepseek2", NULL, FAMILY_CARRIED, NULL},
    {"falcon", "falcon", NULL, FAMILY_CARRIED | FAMILY_GROUPED, NULL},
    {"gpt_neox", "gptneox", NULL, FAMILY_CARRIED | FAMILY_GROUPED, NULL},
    {"lfm2", "lfm2", NULL, FAMILY_CARRIED, NULL},
    {"mamba2", "mamba2", NULL, FAMILY_CARRIED, NULL},
    {"nemotron_h", "nemotron_h", NULL, FAMILY_CARRIED, NULL},
    {"bert", "bert", NULL, FAMILY_CARRIED, NULL},
    {"nomic_bert", "nomic-bert", NULL, FAMILY_CARRIED, NULL},
};
enum { FAMILIES = sizeof families / sizeof *families };

static const family *unknown(const char *name)
{
    return nx_fail_null("the family '%s' cannot be converted to or from GGUF: its layout there is not "
                        "known to this version; between mlx and hf it can", name);
}

const family *family_of_config(const char *model_type)
{
    for (int i = 0; i < FAMILIES; i++)
        if (strcmp(families[i].model_type, model_type) == 0)
            return &families[i];
    return unknown(model_type);
}

json_t *family_carried(const nx_gguf *g)
{
    nx_slice text = nx_gguf_get_str(g, "nexus.config_json");
    json_t *o = text.data ? nx_json_parse(text.data, text.len, "nexus.config_json") : NULL;
    if (json_is_object(o))
        return o;
    json_decref(o);
    return NULL;
}

/* By the config.json that the file carries, if it speaks of this architecture. */
static const family *told(const nx_gguf *g, const char *arch)
{
    json_t *o = family_carried(g);
    const char *type = nx_json_get_str(o, "model_type", "");
    const family *found = NULL;
    for (int i = 0; i < FAMILIES && !found; i++)
        if (strcmp(families[i].model_type, type) == 0 && strcmp(families[i].gguf, arch) == 0)
            found = &families[i];
    json_decref(o);
    return found;
}

const family *family_of_gguf(const nx_gguf *g, const char *arch, bool experts)
{
    const family *f = told(g, arch);
    if (f)
        return f;
    for (int i = 0; i < FAMILIES; i++)
        if (strcmp(families[i].gguf, arch) == 0 && families[i].flags & FAMILY_CARRIED)
            return nx_fail_null("a GGUF file of the family '%s' becomes a folder only if it carries its config.json, "
                                "as those do that nexus convert made", arch);
    for (int i = 0; i < FAMILIES; i++)
        if (strcmp(families[i].gguf, arch) == 0 && experts == ((families[i].flags & FAMILY_EXPERTS) != 0))
            return &families[i];
    return unknown(arch);
}
