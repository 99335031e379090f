/*
 * openai.h: what the OpenAI endpoints share, and others that speak like them.
 */
#ifndef NX_SERVER_OPENAI_H
#define NX_SERVER_OPENAI_H

#include "server/generate.h"

/* usage and timings of an answer. New references. */
json_t *openai_usage(const gen_result *g, bool responses);
json_t *openai_timings(const gen_result *g);

/* Messages and tools of a chat request into j->chat; tool_choice, chat_template_kwargs and
 * reasoning switches included. */
void openai_read_chat(gen_job *j, fields *f);

/* The answer is made a call of one of the tools (OpenAI's form), or of the one named. */
void openai_force_call(gen_job *j, fields *f, const json_t *tools, const char *only);

/* {"token": …, "logprob": …, "bytes": […], "top_logprobs": […]} */
json_t *openai_logprob(host_model *m, const nexus_piece *p);

#endif
