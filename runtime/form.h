/* form.h: the form that a generation's answer has to have, as its sampler sees it. */
#ifndef NX_RUNTIME_FORM_H
#define NX_RUNTIME_FORM_H

#include "base/str.h"
#include "runtime/handles.h"

/* A generation's grammar, asleep until the text it comes after. */
typedef struct {
    sampler_constraint hooks;
    const tokenizer *tokenizer;
    matcher *matcher;
    const char *after; /* NULL: awake */
    nx_str text;       /* so far, while asleep */
    const char *marked_after;
    size_t marked_length;
    uint64_t *all;     /* a mask that allows everything */
} form;

/* of o->grammar, which is there. */
void form_init(form *f, nexus_model *m, const nexus_generate_options *o);
/* Also of a form that is all zero. */
void form_clear(form *f);

#endif
