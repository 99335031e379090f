/* grammar_program.h: the program that a grammar compiles to, for its matcher. */
#ifndef NX_RUNTIME_GENERATE_GRAMMAR_PROGRAM_H
#define NX_RUNTIME_GENERATE_GRAMMAR_PROGRAM_H

#include "runtime/generate/grammar.h"

typedef enum {
    STEP_BYTES,  /* one byte lo … hi, then next */
    STEP_SPLIT,  /* next or other */
    STEP_CALL,   /* the rule at other, then next */
    STEP_RETURN, /* to the caller */
    STEP_FAIL,   /* nowhere */
    STEP_END,    /* the whole text has matched */
} step_kind;

typedef struct {
    uint8_t kind, lo, hi;
    int32_t next, other;
} grammar_step;

struct grammar {
    NX_VEC(grammar_step) steps;
    int32_t start;
};

#endif
