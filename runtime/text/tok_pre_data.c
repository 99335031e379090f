/*
 * Pre-tokenizers by the names that GGUF files give them. The patterns are those of the models' own
 * tokenizer.json files, in their order; all split into isolated pieces.
 */
#include <string.h>

#include "base/error.h"
#include "runtime/text/pretok.h"
#include "runtime/text/tok_pre.h"

/* The parts that many patterns share. */
#define CONTRACTIONS    "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define NEWLINES_SPACES "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define WORDS(digits)                                                                              \
    "[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" digits "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" NEWLINES_SPACES
#define UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define CASED(end, digits)                                                                         \
    "[^\\r\\n\\p{L}\\p{N}]?" UPPER "*" LOWER "+" end "|[^\\r\\n\\p{L}\\p{N}]?" UPPER "+" LOWER     \
    "*" end "|" digits "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|" NEWLINES_SPACES
#define UPPER_NOT_HAN "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}&&[^\\p{Han}]]"
#define LOWER_NOT_HAN "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}&&[^\\p{Han}]]"
#define CJK           "[一-龥\xE0\xA0\x80-一가-\xED\x9F\xBF]+"
#define KANA          "[一-龥\xE3\x81\x80-ゟ゠-ヿ]+"
#define DEEPSEEK_WORDS(tail)                                                                       \
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+"                                        \
    "|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+" tail
#define BLOOM " ?[^(\\s|.,!?…。，、।۔،)]+"
/* Letters that have case. */
#define DEEPSEEK_LETTERS                                                                           \
    "\\s?[A-Za-z"                                                                                  \
    "\\x{b5}\\x{c0}-\\x{d6}\\x{d8}-\\x{f6}\\x{f8}-\\x{1ba}\\x{1bc}-\\x{1bf}"                       \
    "\\x{1c4}-\\x{293}\\x{295}-\\x{2af}\\x{370}-\\x{373}\\x{376}\\x{377}"                          \
    "\\x{37b}-\\x{37d}\\x{37f}\\x{386}\\x{388}-\\x{38a}\\x{38c}\\x{38e}-\\x{3a1}"                  \
    "\\x{3a3}-\\x{3f5}\\x{3f7}-\\x{481}\\x{48a}-\\x{52f}\\x{531}-\\x{556}"                         \
    "\\x{10a0}-\\x{10c5}\\x{13a0}-\\x{13f5}\\x{13f8}-\\x{13fd}\\x{1c90}-\\x{1cba}"                 \
    "\\x{1cbd}-\\x{1cbf}\\x{1d00}-\\x{1d2b}\\x{1d6b}-\\x{1d77}\\x{1d79}-\\x{1d9a}"                 \
    "\\x{1e00}-\\x{1f15}\\x{1f18}-\\x{1f1d}\\x{1f20}-\\x{1f45}\\x{1f48}-\\x{1f4d}"                 \
    "\\x{1f50}-\\x{1f57}\\x{1f59}\\x{1f5b}\\x{1f5d}\\x{1f5f}-\\x{1f7d}"                            \
    "\\x{1f80}-\\x{1fb4}\\x{1fb6}-\\x{1fbc}\\x{1fbe}\\x{1fc2}-\\x{1fc4}"                           \
    "\\x{1fc6}-\\x{1fcc}\\x{1fd0}-\\x{1fd3}\\x{1fd6}-\\x{1fdb}\\x{1fe0}-\\x{1fec}"                 \
    "\\x{1ff2}-\\x{1ff4}\\x{1ff6}-\\x{1ffc}\\x{2102}\\x{2107}\\x{210a}-\\x{2113}"                  \
    "\\x{2115}\\x{2119}-\\x{211d}\\x{2124}\\x{2126}\\x{2128}\\x{212a}-\\x{212d}"                   \
    "\\x{212f}-\\x{2134}\\x{2139}\\x{213c}-\\x{213f}\\x{2145}-\\x{2149}\\x{214e}"                  \
    "\\x{2183}\\x{2184}\\x{2c00}-\\x{2c7b}\\x{2c7e}-\\x{2ce4}\\x{2ceb}-\\x{2cee}"                  \
    "\\x{2cf2}\\x{2cf3}\\x{a640}-\\x{a66d}\\x{a680}-\\x{a69b}\\x{a722}-\\x{a76f}"                  \
    "\\x{a771}-\\x{a787}\\x{a78b}-\\x{a78e}\\x{ab70}-\\x{abbf}\\x{fb00}-\\x{fb06}"                 \
    "\\x{fb13}-\\x{fb17}\\x{ff21}-\\x{ff3a}\\x{ff41}-\\x{ff5a}\\x{10400}-\\x{1044f}"               \
    "\\x{104b0}-\\x{104d3}\\x{104d8}-\\x{104fb}\\x{10c80}-\\x{10cb2}"                              \
    "\\x{10cc0}-\\x{10cf2}\\x{118a0}-\\x{118df}\\x{1e900}-\\x{1e943}"                              \
    "]+"

static const tok_pre table[] = {
    /* names, patterns, flags */
    {"gpt-2 phi-2 jina-es jina-de gigachat jina-v2-es jina-v2-de a.x-4.0 mellum jais trillion "
     "exaone4 "
     "granite-docling",
     {PRE_GPT2_PATTERN},
     0},
    {"mpt olmo modern-bert", {PRE_GPT2_PATTERN}, TOK_PRE_NFC},
    {"jina-v1-en jina-v2-code roberta-bpe", {PRE_GPT2_PATTERN}, TOK_PRE_ADD_BOS | TOK_PRE_ADD_SEP},
    {"starcoder refact smollm codeshell exaone minerva-7b mellum2",
     {"\\p{N}", PRE_GPT2_PATTERN},
     0},
    {"command-r", {"\\p{N}", PRE_GPT2_PATTERN}, TOK_PRE_NFC},
    {"llama3 llama-v3 llama-bpe falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano",
     {CONTRACTIONS "|" WORDS("\\p{N}{1,3}")},
     TOK_PRE_IGNORE_MERGES | TOK_PRE_ADD_BOS},
    {"dbrx smaug-bpe chatglm-bpe glm4", {CONTRACTIONS "|" WORDS("\\p{N}{1,3}")}, 0},
    {"qwen2 deepseek-r1-qwen kormo f2llmv2 megrez",
     {CONTRACTIONS "|" WORDS("\\p{N}")},
     TOK_PRE_NFC},
    {"stablelm2 hunyuan solar-open grok-2", {CONTRACTIONS "|" WORDS("\\p{N}")}, 0},
    {"qwen35",
     {CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}"
                   "| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|" NEWLINES_SPACES},
     TOK_PRE_NFC},
    {"seed-coder",
     {CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1}"
                   "| ?[^\\s\\p{L}\\p{N}\\r\\n]+|" NEWLINES_SPACES},
     0},
    {"bailingmoe bailingmoe2 llada-moe",
     {"'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}+|\\p{N}"
      "| ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+"},
     0},
    {"minicpm5", {"\\p{N}{1,3}", CONTRACTIONS "|" WORDS("\\p{N}+")}, TOK_PRE_IGNORE_MERGES},
    {"gpt-4o llama4 kanana2 minimax-m2 talkie", {CASED(CONTRACTIONS "?", "\\p{N}{1,3}")}, 0},
    {"tekken", {CASED("", "\\p{N}")}, TOK_PRE_IGNORE_MERGES | TOK_PRE_ADD_BOS},
    {"tiny_aya cohere2moe",
     {"\\d{1,3}(?=(?:\\d{3})*\\b)", CASED(CONTRACTIONS "?", "\\p{N}{1,3}")},
     0},
    {"kimi-k2",
     {"[\\p{Han}]+"
      "|[^\\r\\n\\p{L}\\p{N}]?" UPPER_NOT_HAN "*" LOWER_NOT_HAN "+" CONTRACTIONS "?"
      "|[^\\r\\n\\p{L}\\p{N}]?" UPPER_NOT_HAN "+" LOWER_NOT_HAN "*" CONTRACTIONS "?"
      "|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" NEWLINES_SPACES},
     TOK_PRE_IGNORE_MERGES},
    {"deepseek-llm",
     {"[\\r\\n]", DEEPSEEK_LETTERS, "\\s?[!-/:-~！-／：-～‘-‟　-。]+", "\\s+$", CJK, "\\p{N}+"},
     0},
    {"deepseek-coder", {"[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", CJK, "\\p{N}"}, 0},
    {"deepseek-v3 hunyuan-dense joyai-llm hy_v4",
     {"\\p{N}{1,3}", KANA, DEEPSEEK_WORDS("[\\r\\n]*|" NEWLINES_SPACES)},
     0},
    {"falcon", {"[\\p{P}\\$\\+<=>\\^~\\|`]+", PRE_GPT2_PATTERN, "[0-9][0-9][0-9]"}, 0},
    {"bloom poro-chat gpt3-finnish", {BLOOM}, 0},
    {"viking", {BLOOM, "\\p{N}"}, 0},
    {"superbpe", {"\\p{N}+", "(?=(\\d{3})+(?!\\d))"}, 0},
    {"jais-2",
     {CONTRACTIONS
      "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*"
      "|\\s*[\\r\\n]+|\\s{512}(?!\\S)|\\s{256}(?!\\S)|\\s{128}(?!\\S)|\\s{64}(?!\\S)"
      "|\\s{32}(?!\\S)|\\s{16}(?!\\S)|\\s{8}(?!\\S)|\\s{4}(?!\\S)|\\s{1,2}(?!\\S)|\\s{1}"},
     0},
    {"exaone-moe",
     {CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?(?:\\p{L}\\p{M}*(?: \\p{L}\\p{M}*)*)+|\\p{N}"
                   "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]?|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+"},
     0},
    {"chameleon",
     {"<sentinel:[0-9]+>", "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z", "([\\t\\n]|    |  )", "\\p{N}",
      "[\\p{P}!-/:-@\\[-`{-~]", PRE_GPT2_PATTERN},
     TOK_PRE_ADD_BOS},
    {"spark2_5", {"\\p{N}{1,3}", KANA, DEEPSEEK_WORDS("|[\\r\\n]|\\s+(?!\\S)|\\s+"), "\\p{N}"}, 0},
    {"youtu",
     {"[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|[一-龥\xE3\x81\x80-ゟ゠-ヿ]"
      "+",
      CASED(CONTRACTIONS "?", "\\p{N}")},
     TOK_PRE_IGNORE_MERGES},
    {"laguna", {"[^\\n]+|[\\n]+", CONTRACTIONS "|" WORDS("\\p{N}")}, 0},
    {"ufakzeka", {WORDS("\\p{N}")}, 0},
    {"gemma4", {NULL}, TOK_PRE_NO_BYTES | TOK_PRE_ADD_BOS},
    {"sarvam-moe granite-embed-multi-311m", {NULL}, TOK_PRE_NO_BYTES},
    {"default", {"[\\p{P}\\$\\+<=>\\^~\\|]+", PRE_GPT2_PATTERN, "\\p{N}+", "[0-9][0-9][0-9]"}, 0},
};

static bool has_name(const char *names, nx_slice name)
{
    for (const char *at = names; *at;) {
        size_t n = strcspn(at, " ");
        if (n == name.len && memcmp(at, name.data, n) == 0)
            return true;
        at += n + (at[n] == ' ');
    }
    return false;
}

const tok_pre *tok_pre_find(nx_slice name)
{
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (has_name(table[i].names, name))
            return &table[i];
    return nx_fail_null("[tokenizer] the pre-tokenizer \"%.*s\" (tokenizer.ggml.pre) is not known",
                        (int)(name.len < 100 ? name.len : 100), name.data);
}

static bool same_patterns(const char *const *a, const char *const *b)
{
    size_t i = 0;
    while (a[i] && b[i] && strcmp(a[i], b[i]) == 0)
        i++;
    return !a[i] && !b[i];
}

const char *tok_pre_name(const char *const *patterns, unsigned flags, size_t *length)
{
    const unsigned seen = TOK_PRE_NFC | TOK_PRE_IGNORE_MERGES | TOK_PRE_NO_BYTES;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (same_patterns(table[i].patterns, patterns) && (table[i].flags & seen) == flags) {
            *length = strcspn(table[i].names, " ");
            return table[i].names;
        }
    return nx_fail_null("[tokenizer] GGUF has no name for the way in which this tokenizer.json splits "
                        "texts (\"%.80s\")", patterns[0] ? patterns[0] : "");
}
