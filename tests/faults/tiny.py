"""Tiny random models of the llama family, written from nothing: GGUF, Hugging Face and MLX folders.

All hold the same weights (seeded), so that what one format answers the others must answer too.
"""
import json
import os
import struct

import numpy as np

HIDDEN, HEADS, KV_HEADS, HEAD_DIM, FF, LAYERS, CONTEXT = 64, 4, 2, 16, 128, 2, 512
THETA, EPS = 10000.0, 1e-5

# ---- vocabulary: byte-level BPE ----


def byte_characters():
    """The printable stand-in of each byte, as byte-level tokenizers write them."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    out, extra = {b: chr(b) for b in kept}, 0
    for b in range(256):
        if b not in out:
            out[b] = chr(256 + extra)
            extra += 1
    return [out[b] for b in range(256)]


MERGES = ["t h", "th e", "i n", "a n", "e r", "o n", "r e", "Ġ a", "Ġ the", "an d", "Ġ t", "e n",
          "o r", "l l", "o u", "e s", "i s", "in g", "Ġ w", "Ġ s", "h e", "a t", "Ġ b", "Ġ c",
          "Ġ o", "Ġ f", "Ġ m", "e d", "a r", "Ġ h", "l o", "Ġ and", "i t", "he ll", "hell o"]
SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TOKENS = SPECIALS + byte_characters() + [m.replace(" ", "") for m in MERGES]
TOKENS += [f"unused{i}" for i in range(304 - len(TOKENS))]
VOCAB = len(TOKENS)


def tokenizer_json():
    ids = {t: i for i, t in enumerate(TOKENS)}
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": i, "content": t, "single_word": False, "lstrip": False,
                          "rstrip": False, "normalized": False, "special": True}
                         for i, t in enumerate(SPECIALS)],
        "normalizer": None,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
                          "use_regex": True},
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
                    "use_regex": True},
        "model": {"type": "BPE", "dropout": None, "unk_token": None,
                  "continuing_subword_prefix": None, "end_of_word_suffix": None,
                  "fuse_unk": False, "byte_fallback": False, "vocab": ids, "merges": MERGES},
    }


# ---- weights ----


def weights():
    """name -> float32 array, in Hugging Face's names and order of rows."""
    rng = np.random.default_rng(1)

    def matrix(rows, cols):
        return (rng.standard_normal((rows, cols)) * 0.15).astype(np.float32)

    def norm():
        return (1 + 0.1 * rng.standard_normal(HIDDEN)).astype(np.float32)

    w = {"model.embed_tokens.weight": matrix(VOCAB, HIDDEN)}
    for i in range(LAYERS):
        p = f"model.layers.{i}."
        w[p + "input_layernorm.weight"] = norm()
        w[p + "self_attn.q_proj.weight"] = matrix(HEADS * HEAD_DIM, HIDDEN)
        w[p + "self_attn.k_proj.weight"] = matrix(KV_HEADS * HEAD_DIM, HIDDEN)
        w[p + "self_attn.v_proj.weight"] = matrix(KV_HEADS * HEAD_DIM, HIDDEN)
        w[p + "self_attn.o_proj.weight"] = matrix(HIDDEN, HEADS * HEAD_DIM)
        w[p + "post_attention_layernorm.weight"] = norm()
        w[p + "mlp.gate_proj.weight"] = matrix(FF, HIDDEN)
        w[p + "mlp.up_proj.weight"] = matrix(FF, HIDDEN)
        w[p + "mlp.down_proj.weight"] = matrix(HIDDEN, FF)
    w["model.norm.weight"] = norm()
    w["lm_head.weight"] = matrix(VOCAB, HIDDEN)
    return w


GGUF_NAMES = {"embed_tokens": "token_embd", "input_layernorm": "attn_norm",
              "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
              "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
              "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate",
              "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down", "norm": "output_norm",
              "lm_head": "output"}


def gguf_name(name):
    parts = name.removeprefix("model.").removesuffix(".weight")
    if parts.startswith("layers."):
        _, i, rest = parts.split(".", 2)
        return f"blk.{i}.{GGUF_NAMES[rest]}.weight"
    return f"{GGUF_NAMES[parts]}.weight"


def neighbours(w, heads):
    """Rows of a q or k projection: GGUF's llama has a rotated pair side by side, Hugging Face's
    has its halves half a head apart."""
    return w.reshape(heads, 2, -1, w.shape[1]).swapaxes(1, 2).reshape(w.shape)


def gguf_weights():
    out = {}
    for name, w in weights().items():
        if "q_proj" in name:
            w = neighbours(w, HEADS)
        if "k_proj" in name:
            w = neighbours(w, KV_HEADS)
        out[gguf_name(name)] = w
    return out


# ---- number formats: each gives (bytes, the numbers those bytes mean) ----


def bf16_bits(w):
    u = w.view(np.uint32)
    return ((u + 0x7FFF + ((u >> 16) & 1)) >> 16).astype(np.uint16)


def from_bf16(bits):
    return (bits.astype(np.uint32) << 16).view(np.float32)


def as_f32(w):
    return w.tobytes(), w


def as_f16(w):
    h = w.astype(np.float16)
    return h.tobytes(), h.astype(np.float32)


def as_bf16(w):
    bits = bf16_bits(w)
    return bits.tobytes(), from_bf16(bits).reshape(w.shape)


def nibbles(q):
    """Blocks of 32 codes: element i and i + 16 share a byte."""
    return (q[:, :16] | q[:, 16:] << 4).astype(np.uint8)


def as_q8_0(w):
    b = w.reshape(-1, 32)
    d = (np.abs(b).max(1) / 127).astype(np.float16)
    q = np.clip(np.round(b / d.astype(np.float32)[:, None]), -127, 127).astype(np.int8)
    data = np.concatenate([d.view(np.uint8).reshape(-1, 2), q.view(np.uint8)], 1)
    return data.tobytes(), (q * d.astype(np.float32)[:, None]).reshape(w.shape)


def as_q4_0(w):
    b = w.reshape(-1, 32)
    d = (np.abs(b).max(1) / 7).astype(np.float16)
    q = np.clip(np.round(b / d.astype(np.float32)[:, None]) + 8, 0, 15).astype(np.uint8)
    data = np.concatenate([d.view(np.uint8).reshape(-1, 2), nibbles(q)], 1)
    return data.tobytes(), ((q.astype(np.float32) - 8) * d.astype(np.float32)[:, None]).reshape(w.shape)


def as_q4_1(w):
    b = w.reshape(-1, 32)
    m = b.min(1).astype(np.float16)
    d = ((b.max(1) - b.min(1)) / 15).astype(np.float16)
    wide_m, wide_d = m.astype(np.float32)[:, None], d.astype(np.float32)[:, None]
    q = np.clip(np.round((b - wide_m) / wide_d), 0, 15).astype(np.uint8)
    heads = np.stack([d, m], 1).view(np.uint8).reshape(-1, 4)
    return np.concatenate([heads, nibbles(q)], 1).tobytes(), (q * wide_d + wide_m).reshape(w.shape)


# name -> (ggml type number, values a block, converter)
GGML = {"f32": (0, 1, as_f32), "f16": (1, 1, as_f16), "q4_0": (2, 32, as_q4_0),
        "q4_1": (3, 32, as_q4_1), "q8_0": (8, 32, as_q8_0), "bf16": (30, 1, as_bf16)}

# ---- GGUF ----

U8, I8, U16, I16, U32, I32, F32, BOOL, STR, ARRAY, U64, I64, F64 = range(13)
PACK = {U8: "<B", I8: "<b", U16: "<H", I16: "<h", U32: "<I", I32: "<i", F32: "<f", BOOL: "<?",
        U64: "<Q", I64: "<q", F64: "<d"}


def string(s):
    b = s if isinstance(s, bytes) else s.encode()
    return struct.pack("<Q", len(b)) + b


def value(kind, v):
    if kind == STR:
        return string(v)
    if kind == ARRAY:
        item, items = v
        return struct.pack("<IQ", item, len(items)) + b"".join(value(item, i) for i in items)
    return struct.pack(PACK[kind], v)


def metadata():
    """The pairs of the tiny model: key -> (type, value). Tests change what they want broken."""
    types = [3] * len(SPECIALS) + [1] * (VOCAB - len(SPECIALS))
    return {
        "general.architecture": (STR, "llama"), "general.name": (STR, "tiny"),
        "llama.block_count": (U32, LAYERS), "llama.context_length": (U32, CONTEXT),
        "llama.embedding_length": (U32, HIDDEN), "llama.feed_forward_length": (U32, FF),
        "llama.attention.head_count": (U32, HEADS),
        "llama.attention.head_count_kv": (U32, KV_HEADS),
        "llama.attention.layer_norm_rms_epsilon": (F32, EPS),
        "llama.rope.freq_base": (F32, THETA), "llama.rope.dimension_count": (U32, HEAD_DIM),
        "llama.vocab_size": (U32, VOCAB),
        "tokenizer.ggml.model": (STR, "gpt2"), "tokenizer.ggml.pre": (STR, "gpt-2"),
        "tokenizer.ggml.tokens": (ARRAY, (STR, TOKENS)),
        "tokenizer.ggml.token_type": (ARRAY, (I32, types)),
        "tokenizer.ggml.merges": (ARRAY, (STR, MERGES)),
        "tokenizer.ggml.bos_token_id": (U32, 1), "tokenizer.ggml.eos_token_id": (U32, 2),
    }


def gguf_tensors(kind="f32", exact=False):
    """[(name, dims innermost first, ggml type, bytes)]. exact: float32 of the numbers that `kind`
    would have kept."""
    number, block, convert = GGML[kind]
    out = []
    for name, w in gguf_weights().items():
        data, means = convert(w) if w.ndim == 2 else as_f32(w)
        if exact or w.ndim == 1:
            out.append((name, w.shape[::-1], 0, means.astype(np.float32).tobytes()))
        else:
            out.append((name, w.shape[::-1], number, data))
    return out


def gguf_bytes(pairs=None, tensors=None, n_tensors=None, n_pairs=None, version=3, offsets=None,
               align=32, magic=b"GGUF"):
    pairs = metadata() if pairs is None else pairs
    tensors = gguf_tensors() if tensors is None else tensors
    head = magic + struct.pack("<IQQ", version, len(tensors) if n_tensors is None else n_tensors,
                               len(pairs) if n_pairs is None else n_pairs)
    for key, (kind, v) in pairs.items():
        head += string(key) + struct.pack("<I", kind)
        head += v if isinstance(v, bytes) and kind != STR else value(kind, v)
    at, body = 0, b""
    for name, dims, kind, data in tensors:
        place = (offsets or {}).get(name, at)
        head += string(name) + struct.pack("<I", len(dims))
        head += b"".join(struct.pack("<Q", d) for d in dims) + struct.pack("<IQ", kind, place)
        pad = -len(data) % align
        body += data + b"\0" * pad
        at += len(data) + pad
    return head + b"\0" * (-len(head) % align) + body


# ---- folders ----


def safetensors_bytes(tensors):
    """tensors: name -> (dtype name, shape, bytes)."""
    header, body = {"__metadata__": {"format": "pt"}}, b""
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": list(shape),
                        "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    return join_safetensors(header, body)


def join_safetensors(header, body):
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + body


def config_json():
    return {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": HIDDEN,
            "intermediate_size": FF, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
            "num_key_value_heads": KV_HEADS, "vocab_size": VOCAB,
            "max_position_embeddings": CONTEXT, "rms_norm_eps": EPS, "rope_theta": THETA,
            "tie_word_embeddings": False, "eos_token_id": 2, "bos_token_id": 1}


def hf_tensors(kind="f32"):
    convert = GGML[kind][2]
    dtype = {"f32": "F32", "f16": "F16", "bf16": "BF16"}[kind]
    return {n: (dtype, w.shape, convert(w)[0]) for n, w in weights().items()}


def affine(w, group=64, bits=4):
    """MLX's packing: codes low bits first in 32-bit words; a scale and a bias a group."""
    g = w.reshape(w.shape[0], -1, group)
    low = g.min(2)
    scale = ((g.max(2) - low) / (2**bits - 1)).astype(np.float32)
    q = np.clip(np.round((g - low[..., None]) / scale[..., None]), 0, 2**bits - 1).astype(np.uint32)
    codes = q.reshape(w.shape[0], -1, 32 // bits)
    words = np.zeros(codes.shape[:2], np.uint32)
    for i in range(32 // bits):
        words |= codes[:, :, i] << np.uint32(bits * i)
    means = (q * scale[..., None] + low[..., None]).astype(np.float32).reshape(w.shape)
    return words, scale, low.astype(np.float32), means


def mlx_tensors(exact=False):
    out = {}
    for name, w in weights().items():
        if w.ndim == 1:
            out[name] = ("F32", w.shape, w.tobytes())
            continue
        words, scales, biases, means = affine(w)
        if exact:
            out[name] = ("F32", w.shape, means.tobytes())
            continue
        module = name.removesuffix(".weight")
        out[name] = ("U32", words.shape, words.tobytes())
        out[module + ".scales"] = ("F32", scales.shape, scales.tobytes())
        out[module + ".biases"] = ("F32", biases.shape, biases.tobytes())
    return out


def folder(path, tensors=None, config=None, tokenizer=None):
    os.makedirs(path, exist_ok=True)

    def put(name, what):
        with open(os.path.join(path, name), "wb") as f:
            f.write(what if isinstance(what, bytes) else json.dumps(what).encode())

    put("config.json", config_json() if config is None else config)
    put("tokenizer.json", tokenizer_json() if tokenizer is None else tokenizer)
    put("tokenizer_config.json", {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>"})
    if not isinstance(tensors, bytes):
        tensors = safetensors_bytes(hf_tensors() if tensors is None else tensors)
    put("model.safetensors", tensors)
    return str(path)
