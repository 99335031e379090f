/*
 * Pre-tokenizers by the names that GGUF files give them. The patterns are those of the models' own
 * tokenizer.json files, in their order; all split into isolated pieces.
 */
#include <string.h>

#include "base/error.h"
#include "runtime/text/tok_pre.h"

/* The parts that many patterns share. */
#define CONTRACTIONS    "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define GPT2            "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
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
/* Letters with case, by hand. */
#define DEEPSEEK_LETTERS                                                                                                                                                \
    "\\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-"                              \
    "ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-"                                                                                                                                      \
    "Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-ώᾀ-ᾴᾶ-ᾼ\\x{1fbe}ῂ-ῄῆ-ῌῐ-\\x{1fd3}ῖ-\\x{1fdb}ῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤ\\x{2126}ℨ" \
    "\\x{212a}-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿ\\x{fb00}-\\x{"                                 \
    "fb06}"                                                                                                                                                             \
    "\\x{fb13}-\\x{fb17}Ａ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]"                                                                 \
    "+"

static const tok_pre table[] = {
    /* names, patterns, flags */
    {"gpt-2 phi-2 jina-es jina-de gigachat jina-v2-es jina-v2-de a.x-4.0 mellum jais trillion "
     "granite-docling",
     {GPT2},
     0},
    {"mpt olmo modern-bert", {GPT2}, TOK_PRE_NFC},
    {"jina-v1-en jina-v2-code roberta-bpe", {GPT2}, TOK_PRE_ADD_BOS | TOK_PRE_ADD_SEP},
    {"starcoder refact smollm codeshell exaone minerva-7b mellum2", {"\\p{N}", GPT2}, 0},
    {"command-r", {"\\p{N}", GPT2}, TOK_PRE_NFC},
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
    {"gpt-4o llama4 kanana2 minimax-m2", {CASED(CONTRACTIONS "?", "\\p{N}{1,3}")}, 0},
    {"tekken", {CASED("", "\\p{N}")}, TOK_PRE_IGNORE_MERGES | TOK_PRE_ADD_BOS},
    {"tiny_aya", {"\\d{1,3}(?=(?:\\d{3})*\\b)", CASED(CONTRACTIONS "?", "\\p{N}{1,3}")}, 0},
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
    {"deepseek-v3 hunyuan-dense joyai-llm",
     {"\\p{N}{1,3}", KANA, DEEPSEEK_WORDS("[\\r\\n]*|" NEWLINES_SPACES)},
     0},
    {"falcon", {"[\\p{P}\\$\\+<=>\\^~\\|`]+", GPT2, "[0-9][0-9][0-9]"}, 0},
    {"bloom poro-chat gpt3-finnish", {BLOOM}, 0},
    {"viking", {BLOOM, "\\p{N}"}, 0},
    {"superbpe", {"\\p{N}+", "(?=(\\d{3})+(?!\\d))"}, 0},
    {"gemma4", {NULL}, TOK_PRE_NO_BYTES | TOK_PRE_SPACE_MARKS},
    {"default", {"[\\p{P}\\$\\+<=>\\^~\\|]+", GPT2, "\\p{N}+", "[0-9][0-9][0-9]"}, 0},
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
