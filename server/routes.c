/* routes.c: the table of routes: what is served, and the only list of it. */
#include "server/app.h"

const app_route app_routes[] = {
    {"GET", "/health", status_health, false, true, "whether the server can answer"},
    {"GET", "/metrics", status_metrics, false, false, "counters for Prometheus"},
    {"GET", "/openapi.json", status_openapi, false, true, "this list, as OpenAPI"},

    {"POST", "/v1/chat/completions", openai_chat, true, false, "OpenAI: answer a conversation"},
    {"POST", "/v1/completions", openai_completions, true, false, "OpenAI: continue a text"},
    {"POST", "/v1/responses", openai_responses, true, false, "OpenAI: answer input items"},
    {"POST", "/v1/responses/input_tokens", openai_responses_count, true, false,
     "OpenAI: how many tokens a request of responses has"},
    {"GET", "/v1/responses/*", openai_response_get, false, false,
     "OpenAI: a response that was stored; with /input_items its input"},
    {"DELETE", "/v1/responses/*", openai_response_remove, false, false, "OpenAI: forget a response"},
    {"GET", "/v1/models", openai_models, false, false, "OpenAI: the models there are"},
    {"GET", "/v1/models/*", openai_model, false, false, "OpenAI: one model"},

    {"POST", "/v1/messages", anthropic_messages, true, false, "Anthropic: answer a conversation"},
    {"POST", "/v1/messages/count_tokens", anthropic_count_tokens, true, false,
     "Anthropic: how many tokens a request has"},

    {"GET", "/api/v0/models", lmstudio_v0_models, false, false, "LM Studio: the models there are"},
    {"GET", "/api/v0/models/*", lmstudio_v0_model, false, false, "LM Studio: one model"},
    {"POST", "/api/v0/chat/completions", openai_chat, true, false, "LM Studio: answer, with statistics"},
    {"POST", "/api/v0/completions", openai_completions, true, false,
     "LM Studio: continue a text, with statistics"},
    {"GET", "/api/v1/models", lmstudio_v1_models, false, false, "LM Studio: the models there are"},
    {"POST", "/api/v1/models/load", lmstudio_v1_load, true, false, "LM Studio: load a model"},
    {"POST", "/api/v1/models/unload", lmstudio_v1_unload, true, false, "LM Studio: unload a model"},

    {"POST", "/api/generate", ollama_generate, true, false, "ollama: continue a prompt"},
    {"POST", "/api/chat", ollama_chat, true, false, "ollama: answer a conversation"},
    {"GET", "/api/tags", ollama_tags, false, false, "ollama: the models there are"},
    {"GET", "/api/ps", ollama_ps, false, false, "ollama: the models that are loaded"},
    {"POST", "/api/show", ollama_show, true, false, "ollama: one model"},
    {"GET", "/api/version", ollama_version, false, true, "ollama: the version"},
    {"GET", "/api/status", ollama_status, false, true, "ollama: the state"},

    {"POST", "/tokenize", text_tokenize, true, false, "text to token ids"},
    {"POST", "/detokenize", text_detokenize, true, false, "token ids to text"},
    {"POST", "/apply-template", text_apply_template, true, false,
     "the prompt that a conversation becomes"},

    {"GET", "/", page_get, false, true, "the page"},
    {"GET", "/index.html", page_get, false, true, "the page"},
    {"GET", "/app.js", page_get, false, true, "a file of the page"},
    {"GET", "/style.css", page_get, false, true, "a file of the page"},
    {"GET", "/highlight.js", page_get, false, true, "a file of the page"},
    {"GET", "/icon.svg", page_get, false, true, "a file of the page"},
    {"POST", "/nexus/markdown", page_markdown, true, false, "Markdown to safe HTML"},
    {"GET", "/nexus/models", page_models, false, false, "the models there are"},
    {"GET", "/nexus/conversations", talks_list, false, false, "the page's conversations"},
    {"GET", "/nexus/conversations/*", talks_get, false, false, "one conversation"},
    {"PUT", "/nexus/conversations/*", talks_put, true, false, "store a conversation"},
    {"DELETE", "/nexus/conversations/*", talks_remove, false, false, "remove a conversation"},

    {"GET", "/nexus/ps", admin_ps, false, false, "what is loaded and what runs"},
    {"POST", "/nexus/load", admin_load, true, false, "load a model"},
    {"POST", "/nexus/unload", admin_unload, true, false, "unload a model"},
    {"POST", "/nexus/stop", admin_stop, true, false, "end the server"},
    {0},
};
