#include "engine/cpu/gguf_books.h"

#include <pthread.h>

nx_gguf_books nx_books;

/* Entries of eight values of two bits, or of four values of four bits, each a place in `values`. */
static void expand(const uint16_t *book, int entries, int bits, const int8_t *values, int8_t *to)
{
    int each = 16 / bits;
    for (int e = 0; e < entries; e++)
        for (int i = 0; i < each; i++)
            to[e * each + i] = values[book[e] >> bits * i & ((1 << bits) - 1)];
}

static void fill(void)
{
    static const int8_t iq2[4] = {8, 25, 43, 0}, iq1[4] = {-8, 0, 8, 0};
    static const int8_t iq3_xxs[16] = {4, 12, 20, 28, 36, 44, 52, 62}, iq3_s[16] = {1, 3, 5, 7, 9, 11, 13, 15};
    nx_gguf_books *b = &nx_books;
    expand(nx_book_iq2_xxs, 256, 2, iq2, b->iq2_xxs[0]);
    expand(nx_book_iq2_xs, 512, 2, iq2, b->iq2_xs[0]);
    expand(nx_book_iq2_s, 1024, 2, iq2, b->iq2_s[0]);
    expand(nx_book_iq1, 2048, 2, iq1, b->iq1[0]);
    expand(nx_book_iq3_xxs, 256, 4, iq3_xxs, b->iq3_xxs[0]);
    expand(nx_book_iq3_s, 512, 4, iq3_s, b->iq3_s[0]);
    for (int i = 0; i < 256; i++) {
        uint8_t bytes[8];
        for (int k = 0; k < 8; k++)
            bytes[k] = i >> k & 1 ? 0xFF : 0;
        memcpy(&b->negative[i], bytes, 8);
    }
    for (int i = 0; i < 128; i++)
        b->signs[i] = (uint8_t)(i | (__builtin_popcount((unsigned)i) & 1) << 7);
}

void nx_gguf_books_ready(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, fill);
}
