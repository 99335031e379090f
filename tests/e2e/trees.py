"""Trees of models for tests: headers of true shape over files full of holes, so that a model of
gigabytes takes a few kilobytes of the disk."""
import json
import os
import struct

U32, F32, STR, ARRAY = 4, 6, 8, 9
# name -> (id, elements a block, bytes a block)
TYPES = {"F32": (0, 1, 4), "F16": (1, 1, 2), "Q4_0": (2, 32, 18), "Q4_1": (3, 32, 20),
         "Q8_0": (8, 32, 34), "Q4_K": (12, 256, 144), "Q6_K": (14, 256, 210),
         "BF16": (30, 1, 2), "IQ2_XXS": (16, 256, 66)}


def text(s):
    b = s.encode()
    return struct.pack("<Q", len(b)) + b


def kv(key, value):
    if isinstance(value, str):
        return text(key) + struct.pack("<I", STR) + text(value)
    if isinstance(value, float):
        return text(key) + struct.pack("<If", F32, value)
    if isinstance(value, list):
        return text(key) + struct.pack("<IIQ", ARRAY, STR, len(value)) + b"".join(map(text, value))
    return text(key) + struct.pack("<II", U32, value)


class Shape:
    """A transformer's measures. The default is small and has everything."""

    def __init__(self, layers=2, hidden=256, heads=4, kv_heads=2, ff=512, vocab=300, context=2048):
        self.layers, self.hidden, self.heads, self.kv_heads = layers, hidden, heads, kv_heads
        self.ff, self.vocab, self.context, self.dim = ff, vocab, context, hidden // heads

    def tensors(self):
        """Hugging Face's names and shapes, outermost dimension first."""
        h, kv_rows = self.hidden, self.kv_heads * self.dim
        out = [("model.embed_tokens.weight", (self.vocab, h))]
        for i in range(self.layers):
            p = f"model.layers.{i}."
            out += [(p + "input_layernorm.weight", (h,)), (p + "self_attn.q_proj.weight", (h, h)),
                    (p + "self_attn.k_proj.weight", (kv_rows, h)),
                    (p + "self_attn.v_proj.weight", (kv_rows, h)),
                    (p + "self_attn.o_proj.weight", (h, h)),
                    (p + "post_attention_layernorm.weight", (h,)),
                    (p + "mlp.gate_proj.weight", (self.ff, h)),
                    (p + "mlp.up_proj.weight", (self.ff, h)),
                    (p + "mlp.down_proj.weight", (h, self.ff))]
        return out + [("model.norm.weight", (h,)), ("lm_head.weight", (self.vocab, h))]

    def parameters(self):
        n = 0
        for _, shape in self.tensors():
            k = 1
            for d in shape:
                k *= d
            n += k
        return n

    def config(self, **more):
        return {"model_type": "llama", "architectures": ["LlamaForCausalLM"],
                "num_hidden_layers": self.layers, "hidden_size": self.hidden,
                "intermediate_size": self.ff, "num_attention_heads": self.heads,
                "num_key_value_heads": self.kv_heads, "vocab_size": self.vocab,
                "max_position_embeddings": self.context, "rms_norm_eps": 1e-5, **more}


GGUF_NAMES = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
              "self_attn.o_proj": "attn_output", "input_layernorm": "attn_norm",
              "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate",
              "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}


def gguf_name(name):
    if name.startswith("model.layers."):
        _, _, i, rest = name.split(".", 3)
        return f"blk.{i}.{GGUF_NAMES[rest.removesuffix('.weight')]}.weight"
    return {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight",
            "lm_head.weight": "output.weight"}[name]


def gguf_header(shape, kind="Q4_0", arch="llama", split=None, metadata=(), tensors=None, tokens=None):
    """The bytes before the data, and how many bytes of data follow."""
    pairs = [kv("general.architecture", arch), kv(f"{arch}.block_count", shape.layers),
             kv(f"{arch}.embedding_length", shape.hidden), kv(f"{arch}.feed_forward_length", shape.ff),
             kv(f"{arch}.attention.head_count", shape.heads),
             kv(f"{arch}.attention.head_count_kv", shape.kv_heads),
             kv(f"{arch}.context_length", shape.context),
             kv(f"{arch}.attention.layer_norm_rms_epsilon", 1e-5),
             kv("tokenizer.ggml.model", "gpt2"), kv("tokenizer.chat_template", "{{ messages }}"),
             kv("tokenizer.ggml.tokens", tokens or [f"t{i}" for i in range(shape.vocab)])]
    pairs += [kv(k, v) for k, v in metadata]
    if split:
        pairs += [text(k) + struct.pack("<IH", 2, v) for k, v in
                  (("split.no", split[0]), ("split.count", split[1]))]
    infos, at = b"", 0
    for name, dims in (shape.tensors() if tensors is None else tensors):
        type_id, elements, size = TYPES[kind if len(dims) > 1 else "F32"]
        count = 1
        for d in dims:
            count *= d
        infos += text(gguf_name(name)) + struct.pack("<I", len(dims))
        infos += b"".join(struct.pack("<Q", d) for d in reversed(dims))
        infos += struct.pack("<IQ", type_id, at)
        at += (count // elements * size + 31) // 32 * 32
    n = len(shape.tensors() if tensors is None else tensors)
    head = b"GGUF" + struct.pack("<IQQ", 3, n, len(pairs)) + b"".join(pairs) + infos
    return head + b"\0" * (-len(head) % 32), at


def write(path, head, data, seed=None):
    os.makedirs(os.path.dirname(path) or b".", exist_ok=True)
    with open(path, "wb") as f:
        f.write(head)
        if seed is not None and data >= 8:
            f.write(struct.pack("<Q", seed))
        f.truncate(len(head) + data)


def gguf(path, shape=None, seed=None, **kw):
    head, data = gguf_header(shape or Shape(), **kw)
    write(path, head, data, seed)
    return len(head) + data


def split_gguf(folder, stem, count, shape=None, **kw):
    shape = shape or Shape()
    tensors = shape.tensors()
    each = (len(tensors) + count - 1) // count
    paths = []
    for i in range(count):
        head, data = gguf_header(shape, split=(i, count), tensors=tensors[i * each:(i + 1) * each], **kw)
        paths.append(os.path.join(folder, f"{stem}-{i + 1:05}-of-{count:05}.gguf"))
        write(paths[-1], head, data)
    return paths


SIZES = {"F32": 4, "F16": 2, "BF16": 2, "U32": 4}


def safetensors(path, tensors, metadata=None, seed=None, cut=0):
    """tensors: (name, dtype, shape). cut: bytes missing at the end."""
    header, at = {}, 0
    if metadata:
        header["__metadata__"] = metadata
    for name, dtype, dims in tensors:
        n = SIZES[dtype]
        for d in dims:
            n *= d
        header[name] = {"dtype": dtype, "shape": list(dims), "data_offsets": [at, at + n]}
        at += n
    b = json.dumps(header).encode()
    write(path, struct.pack("<Q", len(b)) + b, at - cut, seed)


def settings(folder, name, value):
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
        json.dump(value, f)


def hf(folder, shape=None, dtype="BF16", shards=1, seed=None, **config):
    shape = shape or Shape()
    settings(folder, "config.json", shape.config(**config))
    settings(folder, "tokenizer_config.json", {"chat_template": "{{ messages }}"})
    tensors = [(n, dtype, d) for n, d in shape.tensors()]
    if shards == 1:
        safetensors(os.path.join(folder, "model.safetensors"), tensors, {"format": "pt"}, seed)
        return
    each, index = (len(tensors) + shards - 1) // shards, {}
    for i in range(shards):
        name = f"model-{i + 1:05}-of-{shards:05}.safetensors"
        part = tensors[i * each:(i + 1) * each]
        safetensors(os.path.join(folder, name), part, {"format": "pt"}, seed)
        index.update({t[0]: name for t in part})
    settings(folder, "model.safetensors.index.json", {"metadata": {}, "weight_map": index})


def mlx(folder, shape=None, bits=4, group=64, seed=None, **config):
    shape = shape or Shape()
    settings(folder, "config.json",
             shape.config(quantization={"group_size": group, "bits": bits}, **config))
    tensors = []
    for name, dims in shape.tensors():
        if len(dims) == 1:
            tensors.append((name, "BF16", dims))
            continue
        module = name.removesuffix(".weight")
        tensors += [(name, "U32", (dims[0], dims[1] * bits // 32)),
                    (module + ".scales", "BF16", (dims[0], dims[1] // group)),
                    (module + ".biases", "BF16", (dims[0], dims[1] // group))]
    safetensors(os.path.join(folder, "model.safetensors"), tensors, {"format": "mlx"}, seed)


def two_thousand(d):
    """A folder of 2,000 models, half GGUF and half MLX, with 10,000 stray files among them."""
    shape = Shape(layers=32, hidden=4096, heads=32, kv_heads=8, ff=14336, vocab=1000, context=8192)
    heads = [gguf_header(shape, kind=k) for k in ("Q4_K", "Q8_0")]
    mlx(d / "one", shape)
    for i in range(1000):
        write(d / f"p{i % 40}" / f"g{i}" / f"m{i}.gguf", *heads[i % 2], seed=i)
    for i in range(999):
        m = d / f"p{i % 40}" / f"x{i}"
        m.mkdir(parents=True)
        os.link(d / "one" / "config.json", m / "config.json")
        os.link(d / "one" / "model.safetensors", m / "model.safetensors")
    for i in range(10000):
        with open(d / f"p{i % 40}" / f"stray{i}{['.txt', '', '.md', '.json'][i % 4]}", "w") as f:
            f.write("nothing of interest, in some length that is more than a header's")


# ---- displays, as the kernel's folder tells of them ----

def edid(width, height, mm, name, clock=14850):
    """A valid EDID 1.3 block with one detailed timing and a name."""
    blank_x, blank_y = 280, 45
    d = [clock & 255, clock >> 8, width & 255, blank_x & 255, (width >> 8) << 4 | blank_x >> 8,
         height & 255, blank_y & 255, (height >> 8) << 4 | blank_y >> 8, 0, 0, 0, 0,
         mm[0] & 255, mm[1] & 255, (mm[0] >> 8) << 4 | mm[1] >> 8, 0, 0, 0]
    label = [0, 0, 0, 0xFC, 0] + list((name + "\n").encode().ljust(13))
    b = [0, 255, 255, 255, 255, 255, 255, 0] + [0] * 13 + [mm[0] // 10, mm[1] // 10] + [0] * 31
    b = (b + d + label + [0] * 36 + [0])[:127]
    return bytes(b + [-sum(b) & 255])


def connector(root, name, status="connected", data=b"", modes=""):
    d = root / name
    d.mkdir(parents=True)
    (d / "status").write_text(status + "\n")
    (d / "edid").write_bytes(data)
    (d / "modes").write_text(modes)
