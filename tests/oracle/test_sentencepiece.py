"""tokenizer.model files against SentencePiece itself: models trained here, of both kinds, with and without
byte fallback, user-defined symbols, and every setting of the normalizer.
"""
import random

import pytest

from test_tokenizer_oracle import TOOL, Tool, corpus

spm = pytest.importorskip("sentencepiece")
pytestmark = pytest.mark.skipif(not __import__("os").path.exists(TOOL), reason="tokenize_tool is not built")
SPACES = [" ", "  ", "\t", "\u3000", "\u00a0", "\u2581", "\n", "\u200b"]
ODD = ["ﬁ", "①", "Å", "e\u0301", "ｱｲｳ", "한", "\U0001F600", "\U0001F468\u200d\U0001F469", "½", "ǅ", "\u0650", "<s>",
       "<unk>", "</s>", "<0x41>", "\ufeff", "\u00ad", "㈱", "ﷺ", "x" * 40, "\u2126"]


def texts(symbols, n, seed):
    rng = random.Random(seed)
    words = " ".join(corpus(3, 300)).split() + ["the", "ing", "tion", "naïve", "größer", "привет", "世界", "日本語"]
    out = ["", " ", "   ", "a", " a", "a ", *ODD, *symbols]
    for _ in range(n):
        parts = []
        for _ in range(rng.randrange(1, 12)):
            kind = rng.random()
            parts.append(rng.choice(words) if kind < 0.6 else rng.choice(ODD) if kind < 0.75 else
                         rng.choice(symbols) if symbols and kind < 0.85 else rng.choice(SPACES))
            if rng.random() < 0.5:
                parts.append(" ")
        out.append("".join(parts))
    return out


SETTINGS = {
    "plain": {}, "bytes": dict(byte_fallback=True), "identity": dict(normalization_rule_name="identity"),
    "nfkc_cf": dict(normalization_rule_name="nfkc_cf"), "nmt_nfkc": dict(normalization_rule_name="nmt_nfkc"),
    "spaces_kept": dict(remove_extra_whitespaces=False, add_dummy_prefix=False, byte_fallback=True),
    "llama": dict(remove_extra_whitespaces=False, normalization_rule_name="identity", byte_fallback=True,
                  split_digits=True, allow_whitespace_only_pieces=True),
    "symbols": dict(user_defined_symbols=["<sep>", "foo", "  ", "é", "</tool>", "ab", "abc"], byte_fallback=True),
    "symbols_unknown": dict(user_defined_symbols=["<sep>", "foo", "abc"]),
}


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
@pytest.mark.parametrize("settings", SETTINGS)
def test_ids(kind, settings, tmp_path):
    text = tmp_path / "corpus.txt"
    text.write_text("\n".join(t.replace("\n", " ").replace("\0", "") for t in corpus(5, 800)), encoding="utf-8")
    options = SETTINGS[settings]
    spm.SentencePieceTrainer.train(input=str(text), model_prefix=str(tmp_path / "tokenizer"), vocab_size=2200,
                                   model_type=kind, hard_vocab_limit=False, character_coverage=0.98,
                                   minloglevel=3, num_threads=1, **options)
    reference = spm.SentencePieceProcessor(model_file=str(tmp_path / "tokenizer.model"))
    tool = Tool(str(tmp_path))  # the folder: it has no tokenizer.json
    for t in texts(options.get("user_defined_symbols", []), 400, 1):
        want = reference.encode(t)
        assert tool.encode(t, 0) == want, (t, [reference.id_to_piece(i) for i in want])
        if "user_defined_symbols" not in options and reference.unk_id() not in want:
            assert tool.decode(want, True) == reference.decode(want), t
    assert tool.encode("a", 1) == ([1] if kind == "bpe" else []) + reference.encode("a")
    assert tool.encode("<s>a", 2)[0] == 1
    tool.close()


def test_settings(tmp_path):
    """tokenizer_config.json: added tokens, what is put around a text, families with ids of their own."""
    text = tmp_path / "corpus.txt"
    text.write_text("some words and more of the words\n" * 20)
    spm.SentencePieceTrainer.train(input=str(text), model_prefix=str(tmp_path / "tokenizer"), vocab_size=40,
                                   model_type="unigram", hard_vocab_limit=False, minloglevel=3)
    config = tmp_path / "tokenizer_config.json"
    config.write_text('{"tokenizer_class": "T5Tokenizer", "eos_token": "</s>", "added_tokens_decoder": '
                      '{"60": {"content": "<|im_start|>", "special": true}}}')
    reference = spm.SentencePieceProcessor(model_file=str(tmp_path / "tokenizer.model"))
    tool = Tool(str(tmp_path / "tokenizer.model"))
    assert tool.encode("words", 1) == reference.encode("words") + [2]
    assert tool.encode("<|im_start|>words", 2) == [60] + reference.encode("words")
    assert 60 not in tool.encode("<|im_start|>words", 0)
    tool.close()
