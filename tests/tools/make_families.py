#!/usr/bin/env python3
"""Makes tests/data/families: a tiny random checkpoint of each model family, and its logits.

Needs torch, transformers and mlx-lm (not part of the tests' requirements; the tests read the files).
A checkpoint is written by transformers in Hugging Face's own spelling. Its logits are mlx-lm's where
mlx-lm has the family, else those of transformers; where both have it they must agree, unless the
family's entry says why they do not.

    make_families.py [NAME ...]        all families, or those named
"""
import json
import os
import shutil
import sys

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = os.path.join(HERE, "..", "data", "families")

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
    "minicpm": ("minicpm", dict()),
    "internlm2": ("internlm2", dict()),
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
# Read token by token: the reference turns a token by the length of the text that ends with it, which
# a whole prompt in one call does not show.
STEPWISE = {"llama_dynamic"}


def config_of(name):
    from transformers import AutoConfig
    model_type, own = FAMILIES[name]
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


def mlx_logits(folder, tokens, stepwise):
    """None where mlx-lm has no such family."""
    import importlib
    import mlx.core as mx
    from mlx_lm.models.cache import KVCache
    from mlx_lm.utils import load_model
    from pathlib import Path
    mx.set_default_device(mx.cpu)
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


def make(name):
    import torch
    from safetensors.numpy import save_file
    from transformers import AutoModel, AutoModelForCausalLM
    folder = os.path.join(OUT, name)
    shutil.rmtree(folder, ignore_errors=True)
    torch.manual_seed(1)
    config = config_of(name)
    config._attn_implementation = "eager"
    encoder = "bert" in config.model_type
    make_one = AutoModel if encoder else AutoModelForCausalLM
    model = make_one.from_config(config).float().eval()
    randomise(model)
    model.save_pretrained(folder)
    with open(os.path.join(folder, "config.json")) as f:
        settings = json.load(f)
    if name != "qwen3":  # one folder stays in the new style
        old_style(settings)
    with open(os.path.join(folder, "config.json"), "w") as f:
        json.dump(settings, f, indent=1, sort_keys=True)
        f.write("\n")
    out = {}
    for k, tokens in tokens_of().items():
        theirs = torch_logits(model, tokens)
        try:
            ours = mlx_logits(folder, tokens, name in STEPWISE)
        except Exception as e:
            print(f"{name}: mlx-lm: {type(e).__name__}: {str(e)[:300]}")
            ours = None
        if ours is not None:
            diff = np.abs(theirs - ours).max() / np.abs(theirs).max()
            print(f"{name} {k}: mlx-lm and transformers differ by {diff:.2e}")
            if diff < 1e-4 or name in STEPWISE:
                theirs = ours
        out["tokens_" + k] = tokens.astype(np.int32)
        out["logits_" + k] = np.ascontiguousarray(theirs, dtype=np.float32)
    save_file(out, os.path.join(folder, "logits.bin"))
    for f in os.listdir(folder):
        if f not in ("config.json", "model.safetensors", "logits.bin"):
            os.remove(os.path.join(folder, f))
    size = sum(os.path.getsize(os.path.join(folder, f)) for f in os.listdir(folder))
    print(f"{name}: {size // 1024} KB, logits up to {np.abs(out['logits_a']).max():.2f}")


def main():
    for name in sys.argv[1:] or FAMILIES:
        try:
            make(name)
        except Exception as e:
            print(f"{name}: {type(e).__name__}: {str(e)[:500]}")


if __name__ == "__main__":
    main()
