/*
 * routes.c: the table of routes: what is served, and the only list of it.
 *
 * The last column is what the body may hold, for the description at /openapi.json: "name:type", with
 * type s (text), i (whole number), n (number), b (true or false), a (list), o (object) or * (several
 * kinds), and ! where it is needed. Further fields are named in the answer's warnings, not refused.
 */
#include "server/app.h"

#define SAMPLING                                                                                   \
    " temperature:n top_p:n top_k:i min_p:n typical_p:n repeat_penalty:n presence_penalty:n"       \
    " frequency_penalty:n seed:i stop:* logit_bias:* ignore_eos:b"
#define FORM " response_format:o json_schema:* grammar:s regex:s"
#define TOOLS " tools:a tool_choice:* reasoning_effort:s enable_thinking:b chat_template_kwargs:o"
#define CHAT                                                                                       \
    "model:s messages:a! stream:b stream_options:o max_tokens:i max_completion_tokens:i n:i"       \
    " logprobs:b top_logprobs:i ttl:n" TOOLS SAMPLING FORM
#define COMPLETION                                                                                 \
    "model:s prompt:*! stream:b stream_options:o max_tokens:i n:i logprobs:i echo:b ttl:n" SAMPLING FORM
#define RESPONSES                                                                                  \
    "model:s input:*! instructions:s previous_response_id:s tools:a tool_choice:* reasoning:o text:o"  \
    " truncation:s"
#define EMBEDDINGS "model:s input:*! encoding_format:s dimensions:i ttl:n"
#define RERANK "model:s query:s! documents:a! top_n:i return_documents:b truncate:b"

const app_route app_routes[] = {
    {"GET", "/health", status_health, true, "whether the server can answer", NULL},
    {"GET", "/metrics", status_metrics, false, "counters for Prometheus", NULL},
    {"GET", "/openapi.json", status_openapi, true, "this list, as OpenAPI", NULL},

    {"POST", "/v1/chat/completions", openai_chat, false, "OpenAI: answer a conversation", CHAT},
    {"POST", "/v1/completions", openai_completions, false, "OpenAI: continue a text", COMPLETION},
    {"POST", "/v1/responses", openai_responses, false, "OpenAI: answer input items",
     RESPONSES " stream:b store:b max_output_tokens:i include:a top_logprobs:i metadata:o ttl:n"
     SAMPLING FORM},
    {"POST", "/v1/responses/input_tokens", openai_responses_count, false,
     "OpenAI: how many tokens a request of responses has",
     RESPONSES},
    {"GET", "/v1/responses/*", openai_response_get, false,
     "OpenAI: a response that was stored; with /input_items its input",
     NULL},
    {"DELETE", "/v1/responses/*", openai_response_remove, false, "OpenAI: forget a response", NULL},
    {"POST", "/v1/embeddings", openai_embeddings, false, "OpenAI: texts as vectors", EMBEDDINGS},
    {"POST", "/v1/rerank", rerank, false, "documents by how well they answer a query", RERANK},
    {"POST", "/rerank", rerank, false, "the same", RERANK},
    {"GET", "/v1/models", openai_models, false, "OpenAI: the models there are", NULL},
    {"GET", "/v1/models/*", openai_model, false, "OpenAI: one model", NULL},

    {"POST", "/v1/messages", anthropic_messages, false, "Anthropic: answer a conversation",
     "model:s messages:a! max_tokens:i! system:* stream:b stop_sequences:a tools:a "
     "tool_choice:o thinking:o" SAMPLING},
    {"POST", "/v1/messages/count_tokens", anthropic_count_tokens, false,
     "Anthropic: how many tokens a request has",
     "model:s messages:a! system:* tools:a tool_choice:o thinking:o"},

    {"GET", "/api/v0/models", lmstudio_v0_models, false, "LM Studio: the models there are", NULL},
    {"GET", "/api/v0/models/*", lmstudio_v0_model, false, "LM Studio: one model", NULL},
    {"POST", "/api/v0/chat/completions", openai_chat, false, "LM Studio: answer, with statistics",
     CHAT},
    {"POST", "/api/v0/completions", openai_completions, false,
     "LM Studio: continue a text, with statistics",
     COMPLETION},
    {"POST", "/api/v0/embeddings", openai_embeddings, false, "LM Studio: texts as vectors",
     EMBEDDINGS},
    {"GET", "/api/v1/models", lmstudio_v1_models, false, "LM Studio: the models there are", NULL},
    {"POST", "/api/v1/chat", lmstudio_v1_chat, false, "LM Studio: answer, in a kept conversation",
     "model:s input:*! system_prompt:s stream:b store:b previous_response_id:s reasoning:s "
     "max_output_tokens:i context_length:i ttl:n" SAMPLING FORM},
    {"POST", "/api/v1/models/load", lmstudio_v1_load, false, "LM Studio: load a model",
     "model:s! echo_load_config:b context_length:i"},
    {"POST", "/api/v1/models/unload", lmstudio_v1_unload, false, "LM Studio: unload a model",
     "instance_id:s!"},
    {"POST", "/api/v1/models/download", lmstudio_v1_download, false,
     "LM Studio: fetch a model from the hub",
     "model:s! quantization:s"},
    {"GET", "/api/v1/models/download/status/*", lmstudio_v1_download_status, false,
     "LM Studio: how far a download is",
     NULL},

    {"POST", "/api/generate", ollama_generate, false, "ollama: continue a prompt",
     "model:s prompt:s system:s stream:b raw:b format:* think:* options:o keep_alive:*"},
    {"POST", "/api/chat", ollama_chat, false, "ollama: answer a conversation",
     "model:s messages:a tools:a stream:b format:* think:* options:o keep_alive:*"},
    {"POST", "/api/embed", ollama_embed, false, "ollama: texts as vectors",
     "model:s input:*! truncate:b dimensions:i keep_alive:* options:o"},
    {"POST", "/api/embeddings", ollama_embeddings, false, "ollama: a text as a vector",
     "model:s prompt:s! keep_alive:* options:o"},
    {"POST", "/api/pull", ollama_pull, false, "ollama: fetch a model from the hub",
     "model:s! stream:b"},
    {"DELETE", "/api/delete", ollama_delete, false, "ollama: remove a stored model", "model:s!"},
    {"POST", "/api/copy", ollama_copy, false, "ollama: another name for a model",
     "source:s! destination:s!"},
    {"GET", "/api/tags", ollama_tags, false, "ollama: the models there are", NULL},
    {"GET", "/api/ps", ollama_ps, false, "ollama: the models that are loaded", NULL},
    {"POST", "/api/show", ollama_show, false, "ollama: one model", "model:s!"},
    {"GET", "/api/version", ollama_version, true, "ollama: the version", NULL},
    {"GET", "/api/status", ollama_status, true, "ollama: the state", NULL},

    {"POST", "/tokenize", text_tokenize, false, "text to token ids",
     "model:s content:s! add_special:b parse_special:b with_pieces:b"},
    {"POST", "/detokenize", text_detokenize, false, "token ids to text", "model:s tokens:a!"},
    {"POST", "/apply-template", text_apply_template, false,
     "the prompt that a conversation becomes",
     "model:s messages:a!" TOOLS},

    {"GET", "/", page_get, true, "the page", NULL},
    {"GET", "/index.html", page_get, true, "the page", NULL},
    {"GET", "/app.js", page_get, true, "a file of the page", NULL},
    {"GET", "/style.css", page_get, true, "a file of the page", NULL},
    {"GET", "/highlight.js", page_get, true, "a file of the page", NULL},
    {"GET", "/icon.svg", page_get, true, "a file of the page", NULL},
    {"POST", "/nexus/markdown", page_markdown, false, "Markdown to safe HTML", "text:s!"},
    {"GET", "/nexus/models", page_models, false, "the models there are", NULL},
    {"GET", "/nexus/pulls", page_pulls, false, "downloads that run or ran lately", NULL},
    {"DELETE", "/nexus/pulls/*", page_pull_cancel, false, "stop a download", NULL},
    {"GET", "/nexus/conversations", talks_list, false, "the page's conversations", NULL},
    {"GET", "/nexus/conversations/*", talks_get, false, "one conversation", NULL},
    {"PUT", "/nexus/conversations/*", talks_put, false, "store a conversation", ""},
    {"DELETE", "/nexus/conversations/*", talks_remove, false, "remove a conversation", NULL},

    {"GET", "/nexus/ps", admin_ps, false, "what is loaded and what runs", NULL},
    {"POST", "/nexus/load", admin_load, false, "load a model", "model:s! ttl:n"},
    {"POST", "/nexus/unload", admin_unload, false, "unload a model", "model:s!"},
    {"POST", "/nexus/stop", admin_stop, false, "end the server", ""},
    {0},
};
