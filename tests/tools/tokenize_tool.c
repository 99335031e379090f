/*
 * A tokenizer as a process, for tests in other languages:
 *
 *     tokenize_tool PATH          a .gguf, a tokenizer.json or its folder
 *
 * Requests on stdin, answers on stdout, until the end of input:
 *     e FLAGS LENGTH\n BYTES      encode (1: add special, 2: parse special)  ->  "n id id id\n"
 *     d SPECIAL COUNT id id …\n   decode                                     ->  "LENGTH\n" bytes
 * A failure is "! message\n".
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/gguf.h"
#include "runtime/text/tokenizer.h"

static tokenizer *load(const char *path)
{
    size_t n = strlen(path);
    if (n < 5 || strcmp(path + n - 5, ".gguf") != 0)
        return tok_from_json(path);
    nx_gguf *g = nx_gguf_open(path);
    tokenizer *t = g ? tok_from_gguf(g) : NULL;
    nx_gguf_free(g);
    return t;
}

static int encode(const tokenizer *t, tok_ids *ids)
{
    unsigned flags;
    size_t len;
    if (scanf("%u %zu", &flags, &len) != 2 || getchar() != '\n')
        return 1;
    char *text = nx_malloc(len + 1);
    if (fread(text, 1, len, stdin) != len)
        return 1;
    ids->n = 0;
    if (tok_encode(t, text, len, flags, ids, NULL)) {
        printf("%zu", ids->n);
        for (size_t i = 0; i < ids->n; i++)
            printf(" %" PRId32, ids->at[i]);
        printf("\n");
    } else {
        printf("! %s\n", nx_error_message());
    }
    free(text);
    return 0;
}

static int decode(const tokenizer *t, tok_ids *ids)
{
    int special;
    size_t count;
    if (scanf("%d %zu", &special, &count) != 2)
        return 1;
    ids->n = 0;
    for (size_t i = 0; i < count; i++) {
        int32_t id;
        if (scanf("%" SCNd32, &id) != 1)
            return 1;
        nx_vec_push(ids, id);
    }
    nx_str out = {0};
    if (tok_decode(t, ids->at, ids->n, special, &out)) {
        printf("%zu\n", out.len);
        fwrite(nx_str_cstr(&out), 1, out.len, stdout);
    } else {
        printf("! %s\n", nx_error_message());
    }
    nx_str_clear(&out);
    return 0;
}

int main(int argc, char **argv)
{
    tokenizer *t = argc == 2 ? load(argv[1]) : NULL;
    if (!t) {
        fprintf(stderr, "tokenize_tool: %s\n", argc == 2 ? nx_error_message() : "needs a path");
        return 1;
    }
    tok_ids ids = {0};
    int bad = 0;
    for (char what; !bad && scanf(" %c", &what) == 1; fflush(stdout))
        bad = what == 'e' ? encode(t, &ids) : what == 'd' ? decode(t, &ids) : 1;
    nx_vec_clear(&ids);
    tok_free(t);
    return bad;
}
