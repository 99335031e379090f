/*
 * draft.h: tokens that a sequence will perhaps have next, proposed cheaply, so that one pass of the
 * model tries several.
 *
 * The sampler chooses every token from the model's own logits, as without drafts; a draft only says
 * which rows to compute ahead. So a text is the same with drafts and without, whatever the sampler.
 *
 * Proposals are what followed the last tokens when they stood in the text before, or what a smaller
 * model with the same vocabulary chooses, with the sampler's own random numbers; where the text has to
 * have a form, none that leaves it. How many are proposed follows how many were right.
 */
#ifndef NX_RUNTIME_GENERATE_DRAFT_H
#define NX_RUNTIME_GENERATE_DRAFT_H

#include "runtime/generate/sampler.h"
#include "runtime/models/model.h"

enum {
    DRAFT_MOST = 16,    /* tokens a step */
    DRAFT_ROWS = 32,    /* of a whole step, those that are certain included */
    DRAFT_LOOKUP = 8,   /* most tokens a step by default: found in the text */
    DRAFT_BY_MODEL = 4, /* and by a model */
};

typedef struct {
    bool lookup;     /* from the text itself */
    model *model;    /* or by this one (borrowed; may be NULL), where the text has none */
    nn_cache *cache; /* its memory of the text; borrowed */
    int most;        /* 1 to DRAFT_MOST */

    int32_t ids[DRAFT_MOST];
    int n; /* of ids: this step's */
    size_t drafted, accepted; /* in all */
    int width, misses, pause; /* how many to propose next; wrong ones in a row; steps without */
} draft;

void draft_init(draft *d, bool lookup, model *m, nn_cache *cache, int most);
/* How many to propose in this step, at most `room`; a step without drafts counts too. */
int draft_width(draft *d, int room);
/* What followed the last tokens at their latest earlier place: up to `most` into out; how many. */
int draft_lookup(const int32_t *tokens, size_t n, int32_t *out, int most);
/* The first `right` of this step's drafts were what was chosen. */
void draft_judge(draft *d, int right);

/* One text of several for which a model proposes together. */
typedef struct {
    draft *d;
    const int32_t *tokens;
    size_t n;
    sampler *sampler;
    int wanted; /* tokens; 0: it only reads what it has not read yet */
    int32_t *text; /* working copy with the drafts, for penalties; made and freed inside */
} draft_text;

/* Reads at most `budget` tokens of texts it is behind with, and proposes into d->ids and d->n. False
 * with a message. */
bool draft_by_model(nn *c, model *m, draft_text *texts, int n, int budget);

#endif
