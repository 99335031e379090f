/* facts.c: what both kinds of inspection share. */
#include "runtime/catalog/facts.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/error.h"
#include "base/str.h"

void facts_fail(catalog_facts *f, const char *status, const char *fmt, ...)
{
    if (f->status[0] && strcmp(f->status, "ready") != 0)
        return; /* the first reason stays */
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(f->reason, sizeof f->reason, fmt, ap);
    va_end(ap);
    snprintf(f->status, sizeof f->status, "%s", status);
}

/* A table has room for the fault, not for the path again: "[gguf] /a/b.gguf: truncated" is
 * "truncated". */
void facts_fail_message(catalog_facts *f, const char *path)
{
    const char *m = nx_error_message();
    const char *close = m[0] == '[' ? strchr(m, ']') : NULL;
    if (close && close[1] == ' ')
        m = close + 2;
    size_t n = strlen(path);
    if (strncmp(m, path, n) == 0)
        m += n + strspn(m + n, ": ");
    facts_fail(f, "broken", "%s", m);
}

uint64_t facts_hash(uint64_t seed, const void *bytes, size_t n)
{
    uint64_t h = seed ^ (0x9E3779B97F4A7C15u + n);
    const unsigned char *p = bytes;
    for (; n >= 8; n -= 8, p += 8) {
        uint64_t w;
        memcpy(&w, p, 8);
        h = (h ^ w) * 0xD6E8FEB86659FD93u;
        h ^= h >> 32;
    }
    uint64_t w = 0;
    memcpy(&w, p, n);
    h = (h ^ w) * 0xD6E8FEB86659FD93u;
    h ^= h >> 29;
    return h * 0x9E3779B97F4A7C15u;
}

int64_t facts_read(int fd, void *out, uint64_t n, uint64_t offset, const char *path)
{
    uint64_t got = 0;
    while (got < n) {
        ssize_t k = pread(fd, (char *)out + got, n - got, (off_t)(offset + got));
        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0) {
            nx_fail("[file] %s: cannot be read: %s", path, strerror(errno));
            return -1;
        }
        if (k == 0)
            break;
        got += (uint64_t)k;
    }
    return (int64_t)got;
}

uint64_t facts_sample(const char *folder, const catalog_files *files)
{
    enum { PIECES = 8, PIECE = 4096 };
    char piece[PIECE];
    uint64_t h = 1;
    for (size_t i = 0; i < files->n; i++) {
        const catalog_file *f = &files->at[i];
        nx_str path = {0};
        nx_str_printf(&path, "%s/%s", folder, f->name ? f->name : "");
        int fd = f->name ? open(nx_str_cstr(&path), O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1;
        for (uint64_t k = 1; fd >= 0 && k <= PIECES; k++) {
            uint64_t at = f->bytes > PIECE ? (f->bytes - PIECE) / PIECES * k : 0;
            int64_t n = facts_read(fd, piece, PIECE, at, f->name);
            h = facts_hash(h, piece, n > 0 ? (size_t)n : 0);
        }
        if (fd >= 0)
            close(fd);
        nx_str_clear(&path);
    }
    return h ? h : 1;
}

int facts_split_name(const char *name, int *no, int *stem)
{
    size_t n = strlen(name);
    if (n < 20 || strcasecmp(name + n - 5, ".gguf") != 0)
        return -1;
    const char *p = name + n - 20; /* "-00001-of-00003.gguf" */
    int part, count, end = 0;
    if (p[0] != '-' || memcmp(p + 6, "-of-", 4) != 0)
        return -1;
    for (int i = 1; i < 15; i++)
        if ((i < 6 || i > 9) && !isdigit((unsigned char)p[i]))
            return -1;
    if (sscanf(p, "-%5d-of-%5d%n", &part, &count, &end) != 2 || end != 15 || part < 1 || part > count)
        return -1;
    *no = part - 1;
    *stem = (int)(n - 20);
    return count;
}

const char *facts_kind_of_family(const char *family)
{
    static const struct {
        const char *family, *kind;
    } kinds[] = {
        {"bert", "embedding"},        {"roberta", "embedding"},     {"xlm-roberta", "embedding"},
        {"nomic_bert", "embedding"},  {"nomic-bert", "embedding"},  {"nomic-bert-moe", "embedding"},
        {"jina-bert-v2", "embedding"}, {"jina-bert-v3", "embedding"}, {"modernbert", "embedding"},
        {"modern-bert", "embedding"}, {"mpnet", "embedding"},       {"distilbert", "embedding"},
        {"gemma-embedding", "embedding"}, {"neo-bert", "embedding"}, {"t5encoder", "embedding"},
        {"deberta-v2", "embedding"},  {"camembert", "embedding"},   {"eurobert", "embedding"},
        {"whisper", "audio"},         {"wav2vec2", "audio"},        {"hubert", "audio"},
        {"parakeet_ctc", "audio"},    {"moonshine", "audio"},       {"clip", "projector"},
        {"siglip", "vision"},         {"vit", "vision"},            {"clip_text_model", "embedding"},
        {"llava", "vision"},          {"llava_next", "vision"},     {"idefics3", "vision"},
        {"smolvlm", "vision"},        {"qwen2_vl", "vision"},       {"qwen2_5_vl", "vision"},
        {"qwen2vl", "vision"},        {"qwen3_vl", "vision"},       {"qwen3vl", "vision"},
        {"qwen3vlmoe", "vision"},     {"mllama", "vision"},         {"paligemma", "vision"},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(kinds[i].family, family) == 0)
            return kinds[i].kind;
    return NULL;
}
