"""Our tokenizers against Hugging Face's: tiny ones are trained here, saved as tokenizer.json, and
both encode and decode thousands of texts, ordinary and hostile.

NEXUS_TOKENIZE_TOOL names our side (tests/tools/tokenize_tool.c as built); without it, the one in the
build folder of MLXC_LIB."""

import json
import os
import pathlib
import random
import subprocess

import pytest

tokenizers = pytest.importorskip("tokenizers")
from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers,  # noqa: E402
                        pre_tokenizers, processors, trainers)

TOOL = os.environ.get("NEXUS_TOKENIZE_TOOL") or os.path.join(
    os.path.dirname(os.environ.get("MLXC_LIB", "build/libmlxc.so")), "tests", "tokenize_tool")
pytestmark = pytest.mark.skipif(not os.path.exists(TOOL), reason="tokenize_tool is not built")

ADD_SPECIAL, PARSE_SPECIAL = 1, 2


class Tool:
    def __init__(self, path):
        self.p = subprocess.Popen([TOOL, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def line(self):
        text = self.p.stdout.readline().decode()
        assert text, "the tool ended"
        assert not text.startswith("!"), text
        return text

    def encode(self, text, flags):
        raw = text.encode()
        self.p.stdin.write(b"e %d %d\n" % (flags, len(raw)) + raw)
        self.p.stdin.flush()
        return [int(x) for x in self.line().split()[1:]]

    def decode(self, ids, special):
        self.p.stdin.write(b"d %d %d " % (special, len(ids)) + " ".join(map(str, ids)).encode() + b"\n")
        self.p.stdin.flush()
        return self.p.stdout.read(int(self.line())).decode()

    def close(self):
        self.p.stdin.close()
        assert self.p.wait() == 0


# ---- texts ----

WORDS = ("the The THE quick brown fox don't I'll we've they're he'd 'S 'ſ it's naïve café Ünïcode "
         "Привет мир нещо Български 我想在 漢字 カタカナ ひらがな 한국어 किताब สวัสดี Cửa Việt ǅ ß İ ı ﬁ "
         "x=1 1234567 3.14 ²³ Ⅻ ٣٤٥ foo_bar CamelCase HTTPServer int main(){return 0;} "
         "😀 👩‍👩‍👧‍👦 🇩🇪 e\u0301 \u0301 a\u0308\u0323 \u1e9b\u0323 \u200d \u200c \u00ad ﷺ Å ⓐ Ⓩ ─── ▁ ▁▁a").split()
SPACES = [" ", " ", " ", " ", "  ", "   ", "\n", "\n\n", "\r\n", "\t", " \n ", "\u00a0", "\u2003",
          "\u3000", "\u0085", "\u2028", "\u180e", "\u200b", "\v", "\f", "", "", ""]
MARKS = list(".,!?;:'\"()[]{}<>@#$%^&*-_=+/\\|`~“”—…、。¡¿§€")
# Assigned long ago, so that both sides know them whatever Unicode version they carry.
RANGES = [(0x20, 0x7E), (0xA0, 0x24F), (0x250, 0x2FF), (0x300, 0x36F), (0x391, 0x3A1),
          (0x400, 0x4FF), (0x5D0, 0x5EA), (0x620, 0x64A), (0x905, 0x939), (0xE01, 0xE3A),
          (0x1100, 0x1112), (0x1161, 0x1175), (0x11A8, 0x11C2), (0x1E00, 0x1EFF),
          (0x2010, 0x2027), (0x2070, 0x2071), (0x20A0, 0x20B5), (0x2150, 0x2180), (0x2190, 0x21FF),
          (0x2460, 0x24FF), (0x3041, 0x3096), (0x30A1, 0x30FA), (0x4E00, 0x9FA5),
          (0xAC00, 0xD7A3), (0xF900, 0xFA2D), (0xFB00, 0xFB06), (0xFF01, 0xFF5E),
          (0x1D400, 0x1D454), (0x1F600, 0x1F64F), (0x20000, 0x20100), (0x1, 0x1F)]


def random_text(rng, specials):
    parts = []
    for _ in range(rng.choice([1, 2, 5, 12, 40])):
        kind = rng.random()
        if kind < 0.55:
            parts.append(rng.choice(WORDS))
        elif kind < 0.65:
            parts.append("".join(rng.choice(MARKS) for _ in range(rng.randint(1, 6))))
        elif kind < 0.75:
            parts.append(str(rng.randint(0, 10 ** rng.randint(1, 12))))
        elif kind < 0.92 or not specials:
            lo, hi = rng.choice(RANGES)
            parts.append("".join(chr(rng.randint(lo, hi)) for _ in range(rng.randint(1, 5))))
        else:
            parts.append(rng.choice(specials))
        parts.append(rng.choice(SPACES))
    return "".join(parts)


def corpus(seed=7, n=1500):
    rng = random.Random(seed)
    return [random_text(rng, []) for _ in range(n)]


def texts(specials, n, seed):
    rng = random.Random(seed)
    fixed = ["", " ", "  ", "\n", "a", " a", "a ", " " * 300, "ab" * 400, "\n" * 50, "'", "''s",
             "a" * 5000, "🙂" * 200, " \u180e \u0085 ", "x" + "\u0301" * 40]
    return fixed + [random_text(rng, specials) for _ in range(n)]


# ---- comparing ----

def compare(tok, tmp_path, n=1500, seed=1, decode=True):
    path = tmp_path / "tokenizer.json"
    tok.save(str(path))
    added = [t["content"] for t in json.loads(path.read_text())["added_tokens"]]
    tool = Tool(path)
    rng = random.Random(seed)
    size = tok.get_vocab_size()
    for text in texts(added, n, seed):
        for special in (False, True):
            want = tok.encode(text, add_special_tokens=special).ids
            got = tool.encode(text, PARSE_SPECIAL | (ADD_SPECIAL if special else 0))
            assert got == want, (text, [tok.id_to_token(i) for i in got],
                                 [tok.id_to_token(i) for i in want])
        if decode:
            for skip in (False, True):
                assert tool.decode(want, not skip) == tok.decode(want, skip_special_tokens=skip), text
    if decode:
        valid = [i for i in range(size) if tok.id_to_token(i) is not None]
        for _ in range(300):
            ids = [rng.choice(valid) for _ in range(rng.randint(1, 12))]
            assert tool.decode(ids, True) == tok.decode(ids, skip_special_tokens=False), ids
    tool.close()


SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def byte_bpe(pre, normalizer=None, size=600, **model):
    tok = Tokenizer(models.BPE(**model))
    tok.pre_tokenizer = pre
    if normalizer:
        tok.normalizer = normalizer
    tok.decoder = decoders.ByteLevel()
    tok.train_from_iterator(corpus(), trainers.BpeTrainer(
        vocab_size=size, special_tokens=SPECIALS, show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    return tok


def split_then_bytes(*patterns, behavior="isolated", invert=False):
    return pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(p), behavior, invert) for p in patterns]
        + [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
          r"|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace("{1,3}", "")
O200K = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
         r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+"
         r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*"
         r"|\s*[\r\n]+|\s+(?!\S)|\s+")
KIMI = (r"[\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*"
        r"[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
        r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+"
        r"[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
DEEPSEEK3 = (r"\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+",
             r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"""
             r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")

PRE = {
    "gpt2": pre_tokenizers.ByteLevel(add_prefix_space=False),
    "gpt2-prefix": pre_tokenizers.ByteLevel(add_prefix_space=True),
    "llama3": split_then_bytes(LLAMA3),
    "qwen2": split_then_bytes(QWEN2),
    "o200k": split_then_bytes(O200K),
    "kimi": split_then_bytes(KIMI),
    "deepseek3": split_then_bytes(*DEEPSEEK3),
    "deepseek-coder": split_then_bytes(r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-퟿]+", r"\p{N}"),
    "deepseek-llm-end": split_then_bytes(r"[\r\n]", r"\s?[!-/:-~！-／：-～‘-‟　-。]+", r"\s+$", r"\p{N}+"),
    "superbpe": split_then_bytes(r"\p{N}+", r"(?=(\d{3})+(?!\d))"),
    "bailing": split_then_bytes(
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"),
    "starcoder": pre_tokenizers.Sequence([pre_tokenizers.Digits(True),
                                          pre_tokenizers.ByteLevel(add_prefix_space=False)]),
    "falcon": pre_tokenizers.Sequence([
        pre_tokenizers.Punctuation("contiguous"), pre_tokenizers.ByteLevel(add_prefix_space=False),
        pre_tokenizers.Digits(False), pre_tokenizers.Split(Regex("[0-9][0-9][0-9]"), "isolated")]),
    "words": split_then_bytes(r"\w+|[^\w\s]+", behavior="removed", invert=True),
    "not-space": split_then_bytes(r"\S+", behavior="merged_with_next"),
    "not-word": split_then_bytes(r"\W", behavior="merged_with_previous"),
    "hex": split_then_bytes(r"\h+", behavior="contiguous"),
    "boundary": split_then_bytes(r"\d{1,3}(?=(?:\d{3})*\b)"),
    "scripts": split_then_bytes(r"\p{Han}+|\p{Hiragana}+|\p{Latin}+|\p{Cyrillic}+"),
    "named": split_then_bytes(r"[[:punct:]]+|[[:alpha:]]+|[[:space:]]|[[:alnum:]]+"),
    "named-words": split_then_bytes(r"[[:word:]]+|[[:blank:]]+|\p{Punct}+|\p{Space}"),
    "named-cases": split_then_bytes(r"[[:upper:]][[:lower:]]+|[[:digit:]_]+|[[:xdigit:]]"),
    "intervals": split_then_bytes(r"\p{N}{1,3}+|[^\S\n]+|[a-c[x-z]]+"),
}


@pytest.mark.parametrize("name", PRE)
def test_byte_level_bpe(name, tmp_path):
    compare(byte_bpe(PRE[name]), tmp_path)


@pytest.mark.parametrize("behavior", ["removed", "isolated", "merged_with_previous",
                                      "merged_with_next", "contiguous"])
@pytest.mark.parametrize("invert", [False, True])
def test_split_behaviors(behavior, invert, tmp_path):
    compare(byte_bpe(split_then_bytes(r"[aeiou ]", behavior=behavior, invert=invert)), tmp_path, 400)
    literal = pre_tokenizers.Sequence([pre_tokenizers.Split("e", behavior, invert),
                                       pre_tokenizers.ByteLevel(add_prefix_space=False)])
    compare(byte_bpe(literal), tmp_path, 400)


@pytest.mark.parametrize("form", ["NFC", "NFD", "NFKC", "NFKD"])
def test_unicode_forms(form, tmp_path):
    compare(byte_bpe(PRE["qwen2"], getattr(normalizers, form)()), tmp_path, 3000)


def test_ignore_merges(tmp_path):
    tok = byte_bpe(PRE["llama3"], ignore_merges=True)
    compare(tok, tmp_path)


def test_template_and_added_tokens(tmp_path):
    tok = byte_bpe(PRE["llama3"])
    tok.add_tokens([AddedToken("foo_bar", single_word=True), AddedToken("the", lstrip=True),
                    AddedToken("quick", rstrip=True), AddedToken("fox", lstrip=True, rstrip=True),
                    AddedToken("don't", normalized=False), AddedToken("don", normalized=False),
                    AddedToken("   ", normalized=False), AddedToken("Việt")])
    tok.add_special_tokens([AddedToken("<mask>", lstrip=True), AddedToken("<x>", single_word=True)])
    tok.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing(single="<|im_start|> $A <|im_end|>",
                                      special_tokens=[("<|im_start|>", 1), ("<|im_end|>", 2)])])
    compare(tok, tmp_path, 4000)


def test_normalized_added_tokens(tmp_path):
    tok = byte_bpe(PRE["qwen2"], normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()]))
    tok.add_tokens([AddedToken("CamelCase"), AddedToken("fi"), AddedToken("Å", normalized=True),
                    AddedToken("HTTP", normalized=False)])
    compare(tok, tmp_path, 3000, decode=False)


def test_roberta(tmp_path):
    tok = byte_bpe(PRE["gpt2-prefix"])
    tok.post_processor = processors.RobertaProcessing(("<|im_end|>", 2), ("<|im_start|>", 1))
    compare(tok, tmp_path, 500)


def sentencepiece_bpe(byte_fallback=True, fuse_unk=True):
    tok = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=fuse_unk, byte_fallback=byte_fallback))
    tok.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tok.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    tok.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(),
                                     decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    bytes_ = ["<0x%02X>" % i for i in range(256)] if byte_fallback else []
    tok.train_from_iterator(corpus(n=500), trainers.BpeTrainer(
        vocab_size=900, special_tokens=["<unk>", "<s>", "</s>"] + bytes_, show_progress=False,
        limit_alphabet=150))
    j = json.loads(tok.to_str())
    j["pre_tokenizer"] = None
    j["added_tokens"] = [a for a in j["added_tokens"] if not a["content"].startswith("<0x")]
    return Tokenizer.from_str(json.dumps(j))


def test_sentencepiece_bpe(tmp_path):
    tok = sentencepiece_bpe()
    compare(tok, tmp_path, 2000, decode=False)
    path = tmp_path / "tokenizer.json"
    tool = Tool(path)
    for text in texts([], 1000, 3):  # what was encoded is valid, so both decode it alike
        ids = tok.encode(text).ids
        assert tool.decode(ids, True) == tok.decode(ids, skip_special_tokens=False)
    tool.close()


@pytest.mark.parametrize("fuse", [False, True])
def test_bpe_unknown(fuse, tmp_path):
    compare(sentencepiece_bpe(byte_fallback=False, fuse_unk=fuse), tmp_path)


def test_bpe_affixes(tmp_path):
    tok = Tokenizer(models.BPE(unk_token="[UNK]", end_of_word_suffix="</w>",
                               continuing_subword_prefix="##"))
    tok.pre_tokenizer = pre_tokenizers.Whitespace()
    tok.train_from_iterator(corpus(n=500), trainers.BpeTrainer(
        vocab_size=1500, special_tokens=["[UNK]"], end_of_word_suffix="</w>", show_progress=False,
        continuing_subword_prefix="##"))
    tok.decoder = decoders.BPEDecoder(suffix="</w>")
    compare(tok, tmp_path)


def test_clip_like(tmp_path):
    tok = Tokenizer(models.BPE(unk_token="<|endoftext|>", end_of_word_suffix="</w>"))
    tok.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "),
                                           normalizers.Lowercase()])
    tok.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"),
                             "removed", invert=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tok.decoder = decoders.ByteLevel()
    tok.train_from_iterator(corpus(n=500), trainers.BpeTrainer(
        vocab_size=900, special_tokens=["<|startoftext|>", "<|endoftext|>"],
        end_of_word_suffix="</w>", show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    compare(tok, tmp_path, decode=False)


@pytest.mark.parametrize("scheme", ["always", "first", "never"])
@pytest.mark.parametrize("fallback", [False, True])
def test_unigram(scheme, fallback, tmp_path):
    tok = Tokenizer(models.Unigram())
    tok.normalizer = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC(),
                                           normalizers.Replace(Regex(" {2,}"), " ")])
    tok.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    tok.decoder = decoders.Metaspace(prepend_scheme=scheme)
    few = [w for w in WORDS if len(w) > 1 and max(w) < "\u0500"] + ["."]
    rng = random.Random(5)
    lines = [" ".join(rng.choice(few) for _ in range(12)) for _ in range(400)]
    tok.train_from_iterator(lines, trainers.UnigramTrainer(
        vocab_size=400, special_tokens=["<unk>", "<s>", "</s>", "<pad>"], unk_token="<unk>",
        show_progress=False))
    j = json.loads(tok.to_str())
    j["model"]["byte_fallback"] = fallback
    if fallback:
        j["model"]["vocab"] += [["<0x%02X>" % i, -20.0] for i in range(256)]
        j["decoder"] = {"type": "Sequence", "decoders": [
            {"type": "ByteFallback"}, j["decoder"]]}
    tok = Tokenizer.from_str(json.dumps(j))
    compare(tok, tmp_path, 1000, decode=not fallback)


@pytest.mark.parametrize("lower", [False, True])
@pytest.mark.parametrize("accents", [None, False, True])
def test_wordpiece(lower, accents, tmp_path):
    tok = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=30))
    tok.normalizer = normalizers.BertNormalizer(lowercase=lower, strip_accents=accents)
    tok.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tok.decoder = decoders.WordPiece()
    tok.train_from_iterator(corpus(n=500), trainers.WordPieceTrainer(
        vocab_size=1200, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
        show_progress=False))
    tok.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    compare(tok, tmp_path)


@pytest.mark.parametrize("pre", [
    pre_tokenizers.Whitespace(), pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation(),
    pre_tokenizers.Digits(False), pre_tokenizers.CharDelimiterSplit("e"),
    pre_tokenizers.FixedLength(3) if hasattr(pre_tokenizers, "FixedLength") else
    pre_tokenizers.Whitespace()])
def test_character_pre_tokenizers(pre, tmp_path):
    compare(byte_bpe(pre_tokenizers.Sequence([pre, pre_tokenizers.ByteLevel(
        add_prefix_space=False, use_regex=False)])), tmp_path)


@pytest.mark.parametrize("normalizer", [
    normalizers.Strip(), normalizers.Strip(left=False), normalizers.StripAccents(),
    normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents()]), normalizers.Lowercase(),
    normalizers.Replace("the", "<|im_end|>"), normalizers.Replace(Regex(r"\s+"), "_"),
    normalizers.Prepend("X "), normalizers.Nmt(), normalizers.BertNormalizer(clean_text=False)])
def test_normalizers(normalizer, tmp_path):
    compare(byte_bpe(PRE["gpt2"], normalizer), tmp_path, 1000)


def charsmap(pairs):
    """SentencePiece's compiled form of replacements: a double-array trie and the results."""
    pool, values = b"", {}
    for what, to in pairs.items():
        values[what.encode()] = len(pool)
        pool += to.encode() + b"\0"
    nodes = {}
    for key, value in values.items():
        for i in range(len(key)):
            nodes.setdefault(key[:i], set()).add(key[i])
        nodes.setdefault(key, set()).add(0)
    units, used = {0: 0}, {0}

    def place(prefix, at):
        labels = sorted(nodes[prefix])
        base = next(b for b in range(1, 1 << 20) if not any((b ^ c) in used for c in labels))
        used.update(base ^ c for c in labels)
        units[at] |= (at ^ base) << 10 | (0x100 if 0 in labels else 0)
        for c in labels:
            if c == 0:
                units[base] = values[prefix] | 1 << 31
            else:
                units[base ^ c] = c
                place(prefix + bytes([c]), base ^ c)

    place(b"", 0)
    trie = b"".join(units.get(i, 0xFF).to_bytes(4, "little") for i in range(max(units) + 257))
    return len(trie).to_bytes(4, "little") + trie + pool


def test_precompiled(tmp_path):
    few = {"\u00a0": " ", "\u3000": " ", "\n": " ", "ﬁ": "fi", "ﬃ": "ffi", "Å": "Å", "①": "1",
           "e\u0301": "é", "\u0301": "", "\u00ad": "", "½": "1/2", "カ": "か", "ab": "AB", "🇩🇪": "de"}
    normalizer = normalizers.Sequence([normalizers.Precompiled(charsmap(few)),
                                       normalizers.Replace(Regex(" {2,}"), " ")])
    compare(byte_bpe(PRE["gpt2"], normalizer), tmp_path, 4000)


def test_unknown_components(tmp_path):
    base = json.loads(byte_bpe(PRE["gpt2"]).to_str())
    path = tmp_path / "tokenizer.json"
    for part, kind in [("normalizer", "Nonsense"), ("pre_tokenizer", "UnicodeScripts"),
                       ("post_processor", "Nonsense"), ("decoder", "CTC"), ("model", "WordLevel")]:
        bad = json.loads(json.dumps(base))
        bad[part] = dict(bad[part] or {}, type=kind)
        path.write_text(json.dumps(bad))
        run = subprocess.run([TOOL, str(path)], stdin=subprocess.DEVNULL, capture_output=True)
        assert run.returncode == 1 and kind in run.stderr.decode(), (part, run.stderr)


def test_config(tmp_path):
    tok = byte_bpe(PRE["gpt2"])
    tok.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(
        {"bos_token": {"content": "<|im_start|>"}, "eos_token": "<|im_end|>", "add_bos_token": True}))
    tool = Tool(pathlib.Path(tmp_path))
    assert tool.encode("a", ADD_SPECIAL)[0] == tok.token_to_id("<|im_start|>")
    assert tool.encode("<|im_end|>", 0) != [2] == tool.encode("<|im_end|>", PARSE_SPECIAL)
    tool.close()
