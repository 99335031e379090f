#!/usr/bin/env python3
"""Tiny GGUF files of the families in tests/data/families, with the names and layouts that GGUF has for
them, checked against llama.cpp: tests/data/families/gguf_NAME/model.gguf and logits.bin.

Needs the packages gguf and llama-cpp-python (not part of the tests' requirements).
"""
import json
import os
import shutil
import sys

import numpy as np
from safetensors.numpy import load_file

HERE = os.path.dirname(os.path.abspath(__file__))
DATA = os.environ.get("FAMILIES_OUT") or os.path.join(HERE, "..", "data", "families")
# Family: architecture's name, and whether rows of q and k are stored in pairs.
FAMILIES = {
    "llama": ("llama", True), "mixtral": ("llama", True), "granite": ("granite", True),
    "qwen2": ("qwen2", False), "qwen3": ("qwen3", False), "qwen2_moe": ("qwen2moe", False),
    "gemma": ("gemma", False), "phi3": ("phi3", False), "olmo2": ("olmo2", False),
    "starcoder2": ("starcoder2", False), "gpt2": ("gpt2", False),
    "cohere2": ("cohere2", False), "glm4": ("glm4", False), "stablelm": ("stablelm", False),
    "ernie4_5": ("ernie4_5", False), "mamba2": ("mamba2", False),
    "hunyuan_v1_dense": ("hunyuan-dense", False), "lfm2": ("lfm2", False),
}


def pairs(w, heads):
    """Rows (first half, second half) of each head become (0, n/2, 1, n/2 + 1, …)."""
    return w.reshape(heads, 2, w.shape[0] // heads // 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)


def divided(w, heads, kv_heads):
    """Rows by KV head (queries, key, value) become all queries, all keys, all values."""
    dim = w.shape[0] // (heads + 2 * kv_heads)
    g = w.reshape(kv_heads, heads // kv_heads + 2, dim, *w.shape[1:])
    return np.concatenate([g[:, :-2].reshape(heads * dim, *w.shape[1:]),
                           g[:, -2].reshape(kv_heads * dim, *w.shape[1:]),
                           g[:, -1].reshape(kv_heads * dim, *w.shape[1:])])


def tensors(name, c):
    arch, turned = FAMILIES[name]
    heads = c.get("num_attention_heads") or c.get("n_head")
    kv = c.get("num_key_value_heads") or heads
    out, experts = {}, {}
    for key, w in load_file(os.path.join(DATA, name, "model.safetensors")).items():
        w = w.astype(np.float32)
        if turned and (".q_proj." in key or ".k_proj." in key):
            w = pairs(w, heads if ".q_proj." in key else kv)
        if arch.startswith("gemma") and "norm.weight" in key:
            w = w + 1
        if "query_key_value" in key:
            w = divided(w, heads, heads)
        if arch == "gpt2" and w.ndim == 2 and (".c_" in key):
            w = w.T
        if key.endswith("A_log"):
            w, key = -np.exp(w).reshape(-1, 1), key
        if key.endswith("mixer.D"):
            w = w.reshape(-1, 1)
        if key.endswith("mixer.norm.weight"):
            w = w.reshape(c["n_groups"], -1)
        if "conv" in key and w.ndim == 3:
            w = w[:, 0]
        if ".experts." in key:
            before, rest = key.split(".experts.")
            number, rest = rest.split(".", 1)
            experts.setdefault(before + ".experts." + rest, {})[int(number)] = w
            continue
        out[key.replace("dt_bias", "dt_proj.bias")] = w
    for key, parts in experts.items():
        out[key] = np.stack([parts[i] for i in range(len(parts))])
    return out


def write(name, path):
    import gguf
    arch, _ = FAMILIES[name]
    with open(os.path.join(DATA, name, "config.json")) as f:
        c = json.load(f)
    get = lambda *keys: next((c[k] for k in keys if c.get(k) is not None), None)
    w = gguf.GGUFWriter(path, arch)
    layers, hidden = get("num_hidden_layers", "n_layer"), get("hidden_size", "n_embd")
    heads = get("num_attention_heads", "n_head") or 0
    kv = get("num_key_value_heads") or heads
    if arch == "lfm2":
        kv = [kv if t == "full_attention" else 0 for t in c["layer_types"]]
    head_dim = get("head_dim") or (hidden // heads if heads else 0)
    theta = get("rope_theta", "rotary_emb_base") or (c.get("rope_parameters") or {}).get("rope_theta")
    w.add_block_count(layers)
    w.add_embedding_length(hidden)
    w.add_feed_forward_length(get("intermediate_size") or (0 if arch == "mamba2" else 4 * hidden))
    w.add_context_length(get("max_position_embeddings", "n_positions"))
    w.add_vocab_size(get("vocab_size"))
    w.add_head_count(heads)
    w.add_head_count_kv(kv)
    w.add_layer_norm_rms_eps(get("rms_norm_eps", "norm_eps", "layer_norm_epsilon") or 1e-5)
    w.add_layer_norm_eps(get("layer_norm_eps", "layer_norm_epsilon", "norm_epsilon") or 1e-5)
    if heads:
        w.add_key_length(head_dim)
        w.add_value_length(head_dim)
        w.add_rope_dimension_count(int(head_dim * (get("partial_rotary_factor") or 1)))
    if isinstance(theta, (int, float)):
        w.add_rope_freq_base(theta)
    if arch == "gemma3":
        w.add_rope_freq_base(1000000.0)
    if get("sliding_window") and arch in ("gemma2", "gemma3", "cohere2"):
        w.add_sliding_window(get("sliding_window"))
    for key, add in (("attn_logit_softcapping", w.add_attn_logit_softcapping),
                     ("final_logit_softcapping", w.add_final_logit_softcapping),
                     ("embedding_multiplier", w.add_embedding_scale),
                     ("residual_multiplier", w.add_residual_scale),
                     ("attention_multiplier", w.add_attention_scale),
                     ("logits_scaling", w.add_logit_scale), ("logit_scale", w.add_logit_scale),
                     ("moe_intermediate_size", w.add_expert_feed_forward_length),
                     ("shared_expert_intermediate_size", w.add_expert_shared_feed_forward_length),
                     ("num_experts_per_tok", w.add_expert_used_count),
                     ("use_parallel_residual", w.add_parallel_residual),
                     ("conv_L_cache", w.add_shortconv_l_cache)):
        if get(key) is not None:
            add(get(key))
    if get("num_local_experts", "num_experts"):
        w.add_expert_count(get("num_local_experts", "num_experts"))
    if arch == "mamba2":
        w.add_ssm_conv_kernel(c["conv_kernel"])
        w.add_ssm_inner_size(c["num_heads"] * c["head_dim"])
        w.add_ssm_state_size(c["state_size"])
        w.add_ssm_time_step_rank(c["num_heads"])
        w.add_ssm_group_count(c["n_groups"])
    w.add_tokenizer_model("no_vocab")
    names = gguf.get_tensor_name_map(next(k for k, v in gguf.MODEL_ARCH_NAMES.items() if v == arch), layers)
    for key, value in tensors(name, c).items():
        to = names.get_name(key, try_suffixes=(".weight", ".bias"))
        if to is None:
            raise SystemExit(f"{name}: {key} has no name in GGUF")
        w.add_tensor(to, np.ascontiguousarray(value))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def llama_cpp_logits(path, tokens):
    import llama_cpp
    m = llama_cpp.Llama(path, n_ctx=64, n_batch=64, logits_all=True, verbose=False, n_threads=1)
    m.eval([int(t) for t in tokens])
    return np.array(m.scores[: len(tokens)])


def make(name):
    folder = os.path.join(DATA, "gguf_" + name)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    path = os.path.join(folder, "model.gguf")
    write(name, path)
    shutil.copy(os.path.join(DATA, name, "logits.bin"), folder)
    from safetensors import safe_open
    with safe_open(os.path.join(folder, "logits.bin"), "np") as f:
        tokens, logits = f.get_tensor("tokens_a"), f.get_tensor("logits_a")
    try:
        theirs = llama_cpp_logits(path, tokens)
        diff = np.abs(theirs - logits).max() / np.abs(logits).max()
        print(f"{name}: llama.cpp differs by {diff:.1e}")
    except Exception as e:
        print(f"{name}: llama.cpp: {type(e).__name__} {str(e)[:200]}")


if __name__ == "__main__":
    for each in sys.argv[1:] or FAMILIES:
        try:
            make(each)
        except BaseException as e:
            print(f"{each}: {type(e).__name__} {str(e)[:300]}")
