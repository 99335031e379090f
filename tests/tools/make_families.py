#!/usr/bin/env python3
"""Makes tests/data/families: a tiny random checkpoint of each model family, and its logits.

Needs torch, transformers and mlx-lm (not part of the tests' requirements; the tests read the files).
A checkpoint is written by transformers in Hugging Face's own spelling. Its logits are mlx-lm's where
mlx-lm has the family, else those of transformers; where both have it they must agree, unless the
family's entry says why they do not.

    make_families.py [NAME ...]        all families, or those named
"""
import copy
import json
import os
import shutil
import sys

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = os.environ.get("FAMILIES_OUT") or os.path.join(HERE, "..", "data", "families")

# Two texts: one past every window, one within the longer ones.
LENGTHS = {"a": 44, "b": 21}
BASE = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, vocab_size=96, max_position_embeddings=128, bos_token_id=1,
            eos_token_id=2, pad_token_id=0)
LLAMA3 = dict(rope_type="llama3", factor=4.0, low_freq_factor=1.0, high_freq_factor=4.0,
              original_max_position_embeddings=32)
YARN = dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=32, beta_fast=32.0,
            beta_slow=1.0)
LONG = dict(rope_type="longrope", short_factor=[1.0, 1.1, 1.2, 1.3],
            long_factor=[1.0, 1.5, 2.5, 4.0], original_max_position_embeddings=16)
SLIDES = ["sliding_attention", "full_attention"]
MOE = dict(num_experts=4, num_experts_per_tok=2, moe_intermediate_size=24)
MLA = dict(num_key_value_heads=4, kv_lora_rank=16, q_lora_rank=None, qk_rope_head_dim=4,
           v_head_dim=8, qk_nope_head_dim=8, n_shared_experts=1, n_routed_experts=8,
           num_experts_per_tok=2, moe_intermediate_size=16, first_k_dense_replace=1, head_dim=4)

# name: (model_type, settings beside BASE)
FAMILIES = {
    "llama": ("llama", dict(tie_word_embeddings=True)),
    "llama_bias": ("llama", dict(attention_bias=True, mlp_bias=True, head_dim=12)),
    "llama_linear": ("llama", dict(rope=dict(rope_type="linear", factor=2.0))),
    "llama_dynamic": ("llama", dict(rope=dict(rope_type="dynamic", factor=3.0),
                                    max_position_embeddings=32)),
    "llama_llama3": ("llama", dict(rope=LLAMA3)),
    "llama_yarn": ("llama", dict(rope=YARN)),
    "mistral": ("mistral", dict(sliding_window=12)),
    "smollm3": ("smollm3", dict(num_hidden_layers=4, no_rope_layer_interval=4)),
    "mixtral": ("mixtral", dict(num_local_experts=4, num_experts_per_tok=2)),
    "mixtral_bf16": ("mixtral", dict(num_local_experts=4, num_experts_per_tok=2)),
    "qwen2": ("qwen2", dict(tie_word_embeddings=True)),
    "qwen3": ("qwen3", dict(head_dim=12)),
    "qwen2_moe": ("qwen2_moe", dict(**MOE, shared_expert_intermediate_size=40)),
    "qwen3_moe": ("qwen3_moe", dict(**MOE, head_dim=8, norm_topk_prob=True, decoder_sparse_step=1,
                                    mlp_only_layers=[1])),
    "gemma": ("gemma", dict(head_dim=12, num_key_value_heads=1)),
    "gemma2": ("gemma2", dict(head_dim=12, query_pre_attn_scalar=16, sliding_window=12,
                              attn_logit_softcapping=5.0, final_logit_softcapping=3.0,
                              layer_types=SLIDES)),
    "gemma3_text": ("gemma3_text", dict(num_hidden_layers=3, head_dim=12, query_pre_attn_scalar=16,
                                        sliding_window=12, sliding_window_pattern=3)),
    "phi3": ("phi3", dict(sliding_window=None)),
    "phi3_longrope": ("phi3", dict(rope=LONG, original_max_position_embeddings=16,
                                   max_position_embeddings=64)),
    "gpt_oss": ("gpt_oss", dict(num_local_experts=4, num_experts_per_tok=2, head_dim=8,
                                sliding_window=12, intermediate_size=32, hidden_size=32,
                                rope=dict(rope_type="yarn", factor=4.0, beta_fast=32.0,
                                          beta_slow=1.0, original_max_position_embeddings=32,
                                          truncate=False))),
    "olmo2": ("olmo2", dict()),
    "granite": ("granite", dict(attention_multiplier=0.2, embedding_multiplier=3.0,
                                residual_multiplier=0.5, logits_scaling=2.0)),
    "cohere2": ("cohere2", dict(num_hidden_layers=4, sliding_window=12, sliding_window_pattern=4,
                                logit_scale=0.25)),
    "starcoder2": ("starcoder2", dict(use_bias=True, sliding_window=None)),
    "gpt2": ("gpt2", dict(n_embd=32, n_layer=2, n_head=4, n_positions=64, n_ctx=64,
                             intermediate_size=None, num_key_value_heads=None)),
    "gpt_neox": ("gpt_neox", dict(rotary_pct=0.5, use_parallel_residual=True)),
    "gpt_neox_serial": ("gpt_neox", dict(rotary_pct=0.25, use_parallel_residual=False)),
    "deepseek_v2": ("deepseek_v2", dict(**MLA, topk_method="greedy", n_group=1, topk_group=1,
                                        routed_scaling_factor=1.5, num_hidden_layers=3)),
    "deepseek_v3": ("deepseek_v3", dict(**{**MLA, "q_lora_rank": 24}, n_group=4, topk_group=2,
                                        routed_scaling_factor=2.5, norm_topk_prob=True,
                                        rope=dict(**YARN, mscale=1.0, mscale_all_dim=1.0))),
    "bert": ("bert", dict(max_position_embeddings=64)),
    "nomic_bert": ("nomic_bert", dict()),
    "mamba2": ("mamba2", dict(num_heads=8, head_dim=8, state_size=16, n_groups=2, conv_kernel=4,
                              expand=2, chunk_size=8, time_step_limit=(0.0, 50.0),
                              num_attention_heads=None, num_key_value_heads=None)),
    "lfm2": ("lfm2", dict(num_hidden_layers=3, layer_types=["conv", "full_attention", "conv"],
                          conv_L_cache=3, block_auto_adjust_ff_dim=False)),
    "glm4": ("glm4", dict(head_dim=8, partial_rotary_factor=0.5, attention_bias=True)),
    "glm4_moe": ("glm4_moe", dict(head_dim=8, partial_rotary_factor=0.5, n_routed_experts=4,
                                  n_shared_experts=1, num_experts_per_tok=2, n_group=1,
                                  topk_group=1, moe_intermediate_size=24, first_k_dense_replace=1,
                                  use_qk_norm=True, attention_bias=True)),
    "exaone4": ("exaone4", dict(num_hidden_layers=4, sliding_window=12,
                                sliding_window_pattern=4, head_dim=8)),
    "ernie4_5": ("ernie4_5", dict(head_dim=8, use_bias=False)),
    "hunyuan_v1_dense": ("hunyuan_v1_dense", dict(head_dim=8)),
    "stablelm": ("stablelm", dict(partial_rotary_factor=0.5, use_qkv_bias=True)),
    "phimoe": ("phimoe", dict(num_local_experts=4, num_experts_per_tok=2, sliding_window=None,
                              attention_bias=True, lm_head_bias=True)),
    "olmoe": ("olmoe", dict(num_experts=4, num_experts_per_tok=2)),
    "falcon": ("falcon", dict(ffn_hidden_size=64, num_kv_heads=2, new_decoder_architecture=True,
                              bias=False, alibi=False, parallel_attn=True)),
    "falcon_7b": ("falcon", dict(ffn_hidden_size=64, multi_query=True, bias=False, alibi=False,
                                 new_decoder_architecture=False, parallel_attn=True)),
    "qwen3_next": ("qwen3_next", dict(**MOE, num_hidden_layers=4, head_dim=8,
                                      partial_rotary_factor=0.5, linear_num_value_heads=4,
                                      linear_num_key_heads=2, linear_key_head_dim=8,
                                      linear_value_head_dim=8, linear_conv_kernel_dim=4,
                                      shared_expert_intermediate_size=24, norm_topk_prob=True)),
    "jamba": ("jamba", dict(num_hidden_layers=4, attn_layer_offset=1, attn_layer_period=2,
                            expert_layer_offset=1, expert_layer_period=2, mamba_d_conv=4,
                            mamba_d_state=8, mamba_expand=2, num_experts=4,
                            num_experts_per_tok=2, mamba_dt_rank=4, tie_word_embeddings=False)),
    "falcon_h1": ("falcon_h1", dict(attention_in_multiplier=0.8, attention_out_multiplier=0.9,
                                    embedding_multiplier=2.0, key_multiplier=0.7,
                                    lm_head_multiplier=0.5, ssm_in_multiplier=1.25,
                                    ssm_out_multiplier=0.6, mlp_multipliers=[0.9, 0.7],
                                    ssm_multipliers=[0.9, 0.8, 0.7, 1.1, 1.2],
                                    mamba_rms_norm=True, mamba_norm_before_gate=False, head_dim=8, mamba_d_ssm=32, mamba_n_heads=4, mamba_d_head=8,
                                    mamba_d_state=8, mamba_n_groups=2, mamba_d_conv=4,
                                    mamba_chunk_size=8)),
    "nemotron_h": ("nemotron_h", dict(num_hidden_layers=4, hybrid_override_pattern="M-*M",
                                      head_dim=8, mamba_num_heads=4, mamba_head_dim=8,
                                      ssm_state_size=8, conv_kernel=4, n_groups=2,
                                      chunk_size=8)),
}
# Families that transformers does not have: weights in mlx-lm's own names.
MLX_FAMILIES = {
    "minicpm": dict(model_type="minicpm", dim_model_base=16, scale_depth=1.4, scale_emb=3.0,
                    rope_theta=10000.0, rms_norm_eps=1e-5, head_dim=8),
    "internlm2": dict(model_type="internlm2", bias=False, rms_norm_eps=1e-5, rope_theta=10000.0),
    "rwkv7": dict(model_type="rwkv7", norm_eps=1e-5, head_dim=8, a_low_rank_dim=4, v_low_rank_dim=4,
                  gate_low_rank_dim=6, decay_low_rank_dim=4),
}
# MLX's quantized folders: of which family, and how. Modules in "own" are quantized otherwise; False:
# not at all.
QUANTIZED = {
    "mlx_affine": ("llama", dict(hidden_size=64, intermediate_size=64, tie_word_embeddings=True),
                   dict(bits=4, group_size=32),
                   {"layers.0.mlp.down_proj": dict(bits=8, group_size=64),
                    "layers.1.self_attn.q_proj": dict(bits=3, group_size=32),
                    "layers.1.self_attn.k_proj": False,
                    "embed_tokens": dict(bits=6, group_size=64)}),
    "mlx_mxfp4": ("mixtral", dict(intermediate_size=64, num_local_experts=4, num_experts_per_tok=2),
                  dict(bits=4, group_size=32, mode="mxfp4"), {}),
    "mlx_mxfp8": ("qwen3", dict(intermediate_size=64, head_dim=8),
                  dict(bits=8, group_size=32, mode="mxfp8"), {}),
    "mlx_nvfp4": ("llama", dict(intermediate_size=64), dict(bits=4, group_size=16, mode="nvfp4"), {}),
    "mlx_deepseek_v3": ("deepseek_v3", {**FAMILIES["deepseek_v3"][1], "kv_lora_rank": 32,
                                        "q_lora_rank": 32, "qk_nope_head_dim": 32, "v_head_dim": 32,
                                        "moe_intermediate_size": 32, "intermediate_size": 64},
                        dict(bits=4, group_size=32), {}),
    "mlx_qwen2_moe": ("qwen2_moe", dict(num_experts=4, num_experts_per_tok=2, moe_intermediate_size=32,
                                        shared_expert_intermediate_size=32, intermediate_size=64),
                      dict(bits=8, group_size=32), {}),
}
# Folders as mlx-lm converts them: of which family's folder.
CONVERTED = {"mlx_falcon_h1": "falcon_h1", "mlx_mamba2": "mamba2"}
# Foreign methods: codes of 4 bits in groups of 32 along a matrix's columns.
FOREIGN = {"llama_awq": "awq", "llama_gptq": "gptq"}

# Read token by token: the reference turns a token by the length of the text that ends with it, which
# a whole prompt in one call does not show.
STEPWISE = {"llama_dynamic"}


def config_of(name):
    return config_from(*FAMILIES[name])


def config_from(model_type, own):
    from transformers import AutoConfig
    settings = {**BASE, **own}
    rope = settings.pop("rope", None)
    if rope:
        settings["rope_parameters"] = {"rope_theta": 10000.0, **rope}
    settings = {k: v for k, v in settings.items() if v is not None or k not in BASE}
    return AutoConfig.for_model(model_type, **settings)


def tokens_of():
    rng = np.random.default_rng(7)
    return {k: rng.integers(3, BASE["vocab_size"], n) for k, n in LENGTHS.items()}


def randomise(model):
    """Weights large enough that every part of the network moves the logits."""
    import torch
    g = torch.Generator().manual_seed(5)
    for name, p in model.named_parameters():
        with torch.no_grad():
            if p.ndim >= 2:
                fan = p.shape[-1] if "embed" not in name else 1
                p.copy_(torch.randn(p.shape, generator=g) / fan ** 0.5)
            elif "A_log" in name:
                p.copy_(torch.log(1 + 3 * torch.rand(p.shape, generator=g)))
            elif "dt_bias" in name or "bias" in name or "sinks" in name:
                p.copy_(0.3 * torch.randn(p.shape, generator=g))
            else:
                p.copy_(p + 0.3 * torch.randn(p.shape, generator=g))
    for name, b in model.named_buffers():
        if "correction_bias" in name:
            b.copy_(0.2 * torch.randn(b.shape, generator=g))


def torch_logits(model, tokens):
    import torch
    with torch.no_grad():
        out = model(torch.tensor(tokens[None].astype(np.int64)))
    y = out.logits if hasattr(out, "logits") else out.last_hidden_state
    return y[0].float().numpy()


def without_global_scale(mx):
    """mlx-lm hands gather_qmm an argument, always None here, that this MLX does not know yet."""
    known = mx.gather_qmm
    if known.__name__ != "dropped":
        def dropped(*args, **named):
            return known(*args, **{k: v for k, v in named.items() if "global" not in k})
        mx.gather_qmm = dropped


def mlx_logits(folder, tokens, stepwise):
    """None where mlx-lm has no such family."""
    import importlib
    import mlx.core as mx
    from mlx_lm.models.cache import KVCache
    from mlx_lm.utils import load_model
    from pathlib import Path
    mx.set_default_device(mx.cpu)
    without_global_scale(mx)
    with open(os.path.join(folder, "config.json")) as f:
        model_type = json.load(f)["model_type"]
    try:
        importlib.import_module("mlx_lm.models." + model_type)
    except ImportError:
        return None
    model, _ = load_model(Path(folder), lazy=False, strict=True)
    model.set_dtype(mx.float32)
    if stepwise:
        cache = model.make_cache() if hasattr(model, "make_cache") else [KVCache() for _ in model.layers]
        rows = [model(mx.array([[int(t)]]), cache=cache)[0, -1] for t in tokens]
        return np.array(mx.stack(rows).astype(mx.float32))
    return np.array(model(mx.array(tokens[None]))[0].astype(mx.float32))


def old_style(config):
    """transformers 5 writes rope_parameters; most folders that exist say rope_theta, rope_scaling."""
    rope = config.get("rope_parameters")
    if isinstance(rope, dict) and not any(isinstance(v, dict) for v in rope.values()):
        rope = dict(rope)
        config["rope_theta"] = rope.pop("rope_theta", 10000.0)
        if "partial_rotary_factor" in rope:
            config["partial_rotary_factor"] = rope.pop("partial_rotary_factor")
        if rope.get("rope_type", "default") != "default":
            config["rope_scaling"] = {**rope, "type": rope["rope_type"]}
        del config["rope_parameters"]
    for k in ("dtype", "transformers_version", "_name_or_path"):
        config.pop(k, None)


def write_checkpoint(folder, config, new_style=False):
    """A random model in Hugging Face's own spelling; the model."""
    import torch
    from transformers import AutoModel, AutoModelForCausalLM
    shutil.rmtree(folder, ignore_errors=True)
    torch.manual_seed(1)
    config._attn_implementation = "eager"
    make_one = AutoModel if "bert" in config.model_type else AutoModelForCausalLM
    model = make_one.from_config(config).float().eval()
    randomise(model)
    if folder.endswith("_bf16"):  # the weights alone: the rotation stays exact
        for p in model.parameters():
            p.data.copy_(p.data.bfloat16())
        copy.deepcopy(model).bfloat16().save_pretrained(folder)
    else:
        model.save_pretrained(folder)
    with open(os.path.join(folder, "config.json")) as f:
        settings = json.load(f)
    if not new_style:  # one folder stays in the new style
        old_style(settings)
    write_config(folder, settings)
    return model


def write_config(folder, settings):
    with open(os.path.join(folder, "config.json"), "w") as f:
        json.dump(settings, f, indent=1, sort_keys=True)
        f.write("\n")


def write_logits(name, folder, logits_of):
    from safetensors.numpy import save_file
    out = {}
    for k, tokens in tokens_of().items():
        out["tokens_" + k] = tokens.astype(np.int32)
        out["logits_" + k] = np.ascontiguousarray(logits_of(k, tokens), dtype=np.float32)
    save_file(out, os.path.join(folder, "logits.bin"))
    for f in os.listdir(folder):
        if f not in ("config.json", "logits.bin") and not f.startswith("model") or "index" in f:
            os.remove(os.path.join(folder, f))
    size = sum(os.path.getsize(os.path.join(folder, f)) for f in os.listdir(folder))
    print(f"{name}: {size // 1024} KB, logits up to {np.abs(out['logits_a']).max():.2f}")


def make(name):
    folder = os.path.join(OUT, name)
    model = write_checkpoint(folder, config_of(name), name == "qwen3")

    def logits_of(k, tokens):
        theirs = torch_logits(model, tokens)
        try:
            ours = mlx_logits(folder, tokens, name in STEPWISE)
        except Exception as e:
            print(f"{name}: mlx-lm: {type(e).__name__}: {str(e)[:300]}")
            ours = None
        if ours is None:
            return theirs
        diff = np.abs(theirs - ours).max() / np.abs(theirs).max()
        print(f"{name} {k}: mlx-lm and transformers differ by {diff:.2e}")
        return ours if diff < 1e-4 or name in STEPWISE else theirs

    write_logits(name, folder, logits_of)


def make_mlx(name):
    import importlib
    import mlx.core as mx
    from mlx.utils import tree_flatten, tree_unflatten
    mx.set_default_device(mx.cpu)
    settings = {**BASE, **MLX_FAMILIES[name]}
    module = importlib.import_module("mlx_lm.models." + settings["model_type"])
    model = module.Model(module.ModelArgs.from_dict(settings))
    rng = np.random.default_rng(5)

    def fill(key, p):
        if p.ndim >= 2:
            return mx.array((rng.standard_normal(p.shape) / p.shape[-1] ** 0.5).astype(np.float32))
        return mx.array((1 + 0.3 * rng.standard_normal(p.shape)).astype(np.float32))

    weights = [(k, fill(k, p)) for k, p in tree_flatten(model.parameters())]
    model.update(tree_unflatten(weights))
    folder = os.path.join(OUT, name)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    mx.save_safetensors(os.path.join(folder, "model.safetensors"), dict(weights),
                        metadata={"format": "mlx"})
    write_config(folder, settings)
    write_logits(name, folder, lambda k, t: mlx_logits(folder, t, False))


def make_quantized(name):
    from pathlib import Path
    import mlx.core as mx
    from mlx_lm.utils import load_model, quantize_model, save_model, save_config
    mx.set_default_device(mx.cpu)
    model_type, own, how, exceptions = QUANTIZED[name]
    folder = os.path.join(OUT, name)
    plain = folder + ".plain"
    write_checkpoint(plain, config_from(model_type, own))
    model, config = load_model(Path(plain), lazy=False)

    def how_of(path, module):
        for end, what in exceptions.items():
            if path.endswith(end):
                return what
        return hasattr(module, "to_quantized") and module.weight.shape[-1] % how["group_size"] == 0

    model, config = quantize_model(model, config, quant_predicate=how_of, **{"mode": "affine", **how})
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    save_model(folder, model)
    save_config(config, config_path=Path(folder) / "config.json")
    shutil.rmtree(plain)
    write_logits(name, folder, lambda k, t: mlx_logits(folder, t, False))


def make_converted(name):
    from pathlib import Path
    import mlx.core as mx
    from mlx_lm.utils import load_model, save_model, save_config
    mx.set_default_device(mx.cpu)
    folder = os.path.join(OUT, name)
    model, config = load_model(Path(os.path.join(OUT, CONVERTED[name])), lazy=False)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    save_model(folder, model)
    save_config(config, config_path=Path(folder) / "config.json")
    # The source's logits: mlx-lm computes these two families otherwise than transformers.
    shutil.copy(os.path.join(OUT, CONVERTED[name], "logits.bin"), folder)
    os.remove(os.path.join(folder, "model.safetensors.index.json"))


def pack(codes, order=range(8)):
    """Codes [.., 8 n] to int32 [.., n], the first of `order` in the lowest bits."""
    c = codes.reshape(*codes.shape[:-1], -1, 8).astype(np.uint32)
    return sum(c[..., o] << np.uint32(4 * i) for i, o in enumerate(order)).astype(np.uint32).view(np.int32)


def make_foreign(name):
    from safetensors.numpy import load_file, save_file
    import torch
    method, folder = FOREIGN[name], os.path.join(OUT, name)
    model = write_checkpoint(folder, config_from("llama", dict(intermediate_size=64)))
    path = os.path.join(folder, "model.safetensors")
    weights, rng = load_file(path), np.random.default_rng(3)
    state = model.state_dict()
    for key in [k for k in weights if "_proj.weight" in k]:
        w = weights.pop(key)
        rows, cols = w.shape
        codes = rng.integers(0, 16, (rows, cols))
        zeros = rng.integers(1, 15, (rows, cols // 32))
        scales = (0.02 + 0.03 * rng.random((rows, cols // 32))).astype(np.float16)
        full = (codes - np.repeat(zeros, 32, 1)) * np.repeat(scales.astype(np.float32), 32, 1)
        state[key].copy_(torch.tensor(full.astype(np.float32)))
        module = key[:-len(".weight")]
        if method == "awq":
            order = [0, 2, 4, 6, 1, 3, 5, 7]
            weights[module + ".qweight"] = pack(np.ascontiguousarray(codes.T), order)
            weights[module + ".qzeros"] = pack(np.ascontiguousarray(zeros.T), order)
        else:
            weights[module + ".qweight"] = np.ascontiguousarray(pack(codes).T)
            weights[module + ".qzeros"] = pack(np.ascontiguousarray(zeros.T) - 1)
            weights[module + ".g_idx"] = (np.arange(cols) // 32).astype(np.int32)
        weights[module + ".scales"] = np.ascontiguousarray(scales.T)
    save_file(weights, path, metadata={"format": "pt"})
    with open(os.path.join(folder, "config.json")) as f:
        settings = json.load(f)
    settings["quantization_config"] = {"quant_method": method, "bits": 4, "group_size": 32,
                                       **({"version": "gemm"} if method == "awq" else
                                          {"desc_act": False})}
    write_config(folder, settings)
    write_logits(name, folder, lambda k, t: torch_logits(model, t))


def makers():
    out = {}
    for table, maker in ((FAMILIES, make), (MLX_FAMILIES, make_mlx), (QUANTIZED, make_quantized),
                         (CONVERTED, make_converted), (FOREIGN, make_foreign)):
        out.update({name: maker for name in table})
    return out


def main():
    table = makers()
    for name in sys.argv[1:] or table:
        try:
            table[name](name)
        except Exception as e:
            print(f"{name}: {type(e).__name__}: {str(e)[:500]}")


if __name__ == "__main__":
    main()
