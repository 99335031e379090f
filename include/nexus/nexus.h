/*
 * nexus.h: libnexus, a language model in your process.
 *
 *     nexus_model *m;
 *     nexus_session *s;
 *     if (nexus_model_load("smollm2-135m-instruct", NULL, &m) || nexus_session_new(m, NULL, &s))
 *         fprintf(stderr, "%s\n", nexus_error_message());
 *     nexus_message ask[] = {{"user", "What is the capital of France?"}};
 *     nexus_chat(s, ask, 1, NULL, print_piece, stdout, NULL);
 *     nexus_session_free(s);
 *     nexus_model_free(m);
 *
 * Status. Every function that can fail returns a nexus_status; 0 is good. The sentence that says
 * what is wrong and what to do is nexus_error_message(), of the calling thread's last failure.
 * Outputs are untouched on failure.
 *
 * Ownership. nexus_X_free frees what nexus_X_new or nexus_X_load made; NULL is fine. Text and id
 * lists that a function hands out are freed with nexus_free. Parameters are borrowed for the call.
 *
 * Threads. The library owns one thread that drives the engine. Any function may be called from any
 * thread. Callbacks come on the thread that called the function they were given to, never on the
 * library's, while the next token is already being computed. A session runs one generation at a
 * time: a second call waits. nexus_session_cancel may be called at any moment, also from a signal
 * handler.
 */
#ifndef NEXUS_NEXUS_H
#define NEXUS_NEXUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

typedef enum {
    NEXUS_OK = 0,
    NEXUS_ERROR = 1,           /* anything without a number of its own */
    NEXUS_ERROR_ARGUMENT = 2,  /* the call's own arguments make no sense */
    NEXUS_ERROR_NOT_FOUND = 3, /* no such file, folder or stored model */
    NEXUS_ERROR_FORMAT = 4,    /* the file is not what it says, or broken */
    NEXUS_ERROR_UNSUPPORTED = 5, /* a good file of a kind this version does not run */
    NEXUS_ERROR_MEMORY = 6,    /* not enough memory */
    NEXUS_ERROR_CONTEXT = 7,   /* the prompt is longer than the context */
    NEXUS_ERROR_CANCELLED = 8,
} nexus_status;

const char *nexus_error_message(void);
const char *nexus_version(void);
void nexus_free(void *p);

/* ---- models ---------------------------------------------------------------------------------- */

typedef struct nexus_model nexus_model;

/* Progress of a load, 0 to 1; return false to stop it. On the calling thread. */
typedef bool (*nexus_progress_fn)(double fraction, void *user);

typedef struct {
    nexus_progress_fn progress; /* may be NULL */
    void *user;
    int threads; /* for all models of the process; 0: as many as the process may use */
    int context;            /* the context it is to fit into memory with; 0: 4096, or its most */
    const char *cache_type; /* as for sessions */
    bool force;             /* load it though it does not fit the memory that is free */
    bool shared;            /* requests come at any time: long prompts are read in short steps, so that
                               none waits long; a prompt alone takes about a tenth longer */
    bool text_only;         /* tokenizer and chat template alone: no weights; `name` may also be a
                               tokenizer.json or its folder. Only nexus_tokenize, nexus_detokenize and
                               the rendering functions work on such a model. */
    const char *quantize;   /* "auto": a full-precision model is brought to what memory allows; "4" or
                               "4:64": to so many bits in groups of so many; the result is kept in the
                               cache folder. NULL or "none": as it is */
} nexus_load_options;

/* `name` is a GGUF file, a folder (MLX or Hugging Face), an alias, a stored name, a name that
 * nexus_models_scan lists, or "auto" (or "auto:TASK"): what nexus_select chooses. Weights are mapped,
 * not read: loading takes milliseconds, and pages come with their first use. What does not fit the
 * free memory is refused with NEXUS_ERROR_MEMORY and what would fit. options may be NULL. */
nexus_status nexus_model_load(const char *name, const nexus_load_options *options,
                              nexus_model **out);
void nexus_model_free(nexus_model *m);

typedef struct {
    char name[256];
    char path[1024];
    char format[16];       /* "gguf", "mlx", "huggingface" */
    char family[64];       /* "llama" */
    char quantization[64]; /* "Q4_1", "4-bit affine, group 64", "bfloat16" */
    uint64_t parameters;   /* weights, a tied one once */
    double bits_per_weight; /* stored bits, scales included, per parameter */
    uint64_t bytes;        /* of the files */
    int max_context;       /* tokens the model was made for */
    int context;           /* the context memory_bytes is for */
    uint64_t memory_bytes; /* to run at that context: weights, cache, activations, engine */
    uint64_t token_bytes;  /* of the weights that one token alone reads: all but an embedding that is
                              not the head too, and of experts those it uses */
} nexus_model_info;

/* The facts of a loaded model, as nexus_inspect gives them. */
nexus_status nexus_model_describe(nexus_model *m, int ctx, nexus_model_info *out);

/* What `quantize` did, in one line; NULL where it was not asked for. Lives as long as the model. */
const char *nexus_model_note(const nexus_model *m);

/* What the model's chat template can do. */
bool nexus_model_has_template(const nexus_model *m); /* false: plain ChatML stands in */
/* Its source; NULL where the model brings none. Lives as long as the model. */
const char *nexus_model_template(const nexus_model *m);
bool nexus_model_takes_tools(const nexus_model *m);
bool nexus_model_reads(const nexus_model *m, const char *variable); /* "enable_thinking" */

/* What a file or folder holds, without loading it; ctx 0: 4096 or the model's most, if less. */
nexus_status nexus_inspect(const char *name, int ctx, nexus_model_info *out);
/* The same with memory_bytes for a cache of this type (as for sessions). */
nexus_status nexus_inspect_cache(const char *name, int ctx, const char *cache_type, nexus_model_info *out);

/* Writes a model of the shape of a known one ("tinyllama-1.1b", "llama-3.2-1b", "qwen3-0.6b",
 * "moe-1b") with random weights, to measure speed with: a GGUF file at `path`, or a folder in MLX's
 * format, quantized to `bits` (2, 3, 4, 5, 6, 8; 16: not). What it says has no sense. */
nexus_status nexus_model_make(const char *shape, int bits, bool gguf, const char *path);

/* ---- conversion and quality ------------------------------------------------------------------- */

/* Zeros: what lies nearest to the source: quantized weights keep their codes where the target's format
 * can hold them. */
typedef struct {
    const char *to;   /* "mlx", "hf", "gguf"; NULL: as the target is named (*.gguf), else MLX's folder of
                         a GGUF file, and of a folder its own format */
    const char *type; /* "Q4_K_M", "Q6_K", "Q8_0", …: GGUF's; "f16", "bf16", "f32": of any format */
    int bits, group_size; /* MLX's: 2, 3, 4, 5, 6, 8; 32, 64, 128 */
    const char *mode;     /* "affine", "mxfp4", "mxfp8", "nvfp4" */
    const char *recipe;   /* "mixed_4_6": 4 bits, and 6 for the weights that matter more */
    double target_bpw;    /* bits a weight in all, divided so that the error is least */
    const char *calibration; /* a text: what the model makes of it says which columns matter */
    size_t calibration_length;
    uint64_t shard_bytes; /* of the largest file; 0: 5 GB in folders, one file of GGUF */
    bool replace;         /* what is at the target */
    nexus_progress_fn progress; /* false stops; nothing remains then */
    void *user;
} nexus_convert_options;

typedef struct {
    uint64_t bytes, parameters; /* of the weights written */
    double bits_per_weight;
    uint64_t rounded_scales; /* of codes that were kept: scales the target's type could not hold exactly */
} nexus_convert_result;

/* Writes the model `source` (named as for nexus_model_load) to `target`, a folder or a .gguf file,
 * which appears there whole or not at all. Tokenizer and chat template come along. Reads and writes a
 * few rows at a time. options and result may be NULL. */
nexus_status nexus_convert(const char *source, const char *target, const nexus_convert_options *options,
                           nexus_convert_result *result);

typedef struct {
    uint64_t tokens;      /* scored: all but the first of each window */
    double perplexity;    /* e to the mean of -log p of each next token */
    double loss_error;    /* standard error of that mean */
    double divergence;    /* mean Kullback-Leibler divergence from `against`, in nats; without it 0 */
    double divergence_most; /* of a token */
    double agreement;     /* share of tokens for which both hold the same next one likeliest */
    double against_perplexity;
    double seconds;
} nexus_evaluation;

/* Reads `text` in windows of ctx tokens (0: 512), each from its own beginning, and scores every next
 * token. against (may be NULL): a model of the same vocabulary to be compared with. */
nexus_status nexus_evaluate(nexus_model *m, nexus_model *against, const char *text, size_t length, int ctx,
                            nexus_progress_fn progress, void *user, nexus_evaluation *out);

/* ---- the models of this machine ---------------------------------------------------------------- */

/* Memory of the machine (or the container around us, where it has less), in bytes. */
typedef struct {
    uint64_t total;
    uint64_t available; /* can be taken now without swapping */
    uint64_t reserve;   /* of total, left to the desktop and the rest when a machine counts as free */
} nexus_memory;
nexus_status nexus_memory_now(nexus_memory *out);

/* What a scan found. Nothing in it changes until it is freed, so any thread may read it. */
typedef struct nexus_models nexus_models;

typedef struct {
    const char *const *folders; /* walked to any depth; none: the stores and the setting `folders` */
    size_t folder_count;
    bool stores;            /* the stores too where folders are given */
    int context;            /* the context memory_bytes is for; 0: 4096 */
    const char *cache_type; /* "f16" (default), "bf16", "f32", "q8", "q4" */
    bool fresh;             /* look into every file, whatever earlier scans found */
} nexus_models_options;

typedef struct {
    const char *name;         /* of the file or folder, without ".gguf"; of ollama "llama3.2:1b" */
    const char *path;         /* what nexus_model_load is given */
    const char *store;        /* "nexus", "lmstudio", "huggingface", "ollama", "folder" */
    const char *format;       /* "gguf", "mlx", "huggingface", "pytorch", "diffusers" */
    const char *kind;         /* "text", "embedding", "vision", "audio", "classifier", "image",
                                 "adapter", "projector" */
    const char *family;       /* as the file writes it */
    const char *quantization; /* of most parameters */
    const char *status;       /* "ready", "unsupported" (a good one of a kind this version does not
                                 run), "broken" */
    const char *reason;       /* why not ready; "" */
    const char *base;         /* of an adapter: its model; "" */
    const char *duplicate_of; /* path of an entry before it with the same content; "" */
    const char *fit;          /* "now", "when-free" (of other programs), "too-big"; "" unknown */
    uint64_t parameters;
    double bits_per_weight;   /* stored bits, scales included, per parameter; 0 unknown */
    uint64_t bytes;           /* of the files */
    int64_t modified;         /* of the newest file, seconds since 1970 */
    int max_context;          /* 0: unknown */
    int context;              /* the one memory_bytes is for */
    uint64_t memory_bytes;    /* to run at that context; 0: unknown */
    bool chat;                /* brings a chat template */
    uint64_t converted_bytes, converted_memory_bytes; /* as MLX with 4 bits; 0: nothing gained */
    const char *converted_fit;
} nexus_models_entry;

/* Walks, remembers in the cache folder what it looked into, and compares with the memory free now.
 * options may be NULL. A folder that cannot be read is a problem, not a failure; one that was named
 * and is not there is. */
nexus_status nexus_models_scan(const nexus_models_options *options, nexus_models **out);
void nexus_models_free(nexus_models *m);
size_t nexus_models_count(const nexus_models *m);
const nexus_models_entry *nexus_models_at(const nexus_models *m, size_t i);
/* By path, alias, or name in any case ("publisher/name" too); a ready one if there is one. NULL if
 * there is none. */
const nexus_models_entry *nexus_models_find(const nexus_models *m, const char *name);
/* Bytes it needs at another context; 0: unknown. */
uint64_t nexus_models_memory(const nexus_models *m, const nexus_models_entry *e, int context,
                             const char *cache_type);
/* Folders that could not be read: "PATH: why". */
size_t nexus_models_problem_count(const nexus_models *m);
const char *nexus_models_problem(const nexus_models *m, size_t i);
/* The memory that `fit` was judged by. */
nexus_memory nexus_models_machine(const nexus_models *m);

/* Which of the models for what. The ranking is data, in a policy file that a person may edit:
 * policy.json in the settings folder, else the one that ships (nexus_policy). */
typedef struct {
    const char *task;       /* "chat" (default), "code", "reason", "embed", "vision", "transcribe",
                               "small", or one of the policy's own */
    uint64_t memory;        /* bytes that may be used; 0: what is available now */
    int context;            /* 0: 4096 */
    const char *cache_type; /* "f16" (default), "bf16", "f32", "q8", "q4" */
} nexus_select_options;

typedef struct {
    const nexus_models_entry *model;
    uint64_t memory_bytes; /* at the context asked for */
    bool fits;
    double score;
    char note[160]; /* why it stands where it stands */
} nexus_choice;

typedef struct {
    const nexus_models_entry *model; /* NULL: none is suitable */
    uint64_t memory_bytes;
    char task[32];
    char reason[512]; /* a sentence or two */
    char pull[256];   /* the repository to fetch where there is none, or a better one; "" */
    uint64_t memory;  /* what was counted with */
    int context;
    nexus_choice *candidates; /* all of the task's kind, the best first */
    size_t candidate_count;
} nexus_selection;

/* options may be NULL. NEXUS_OK also where none is suitable. */
nexus_status nexus_select(const nexus_models *m, const nexus_select_options *options,
                          nexus_selection *out);
void nexus_selection_clear(nexus_selection *s);
/* The policy in force as JSON text (nexus_free it), and the path of the file that overrides it. */
nexus_status nexus_policy(char **text, char **path);

/* ---- fetching ------------------------------------------------------------------------------------ */

typedef struct {
    const char *file;       /* the one being fetched, in the repository */
    size_t file_no, files;  /* from 1 */
    uint64_t done, total;   /* bytes of all files */
    double rate;            /* bytes a second so far */
    double seconds_left;    /* under 0: not known yet */
} nexus_pull_progress;
/* Several times a second, on the calling thread. Return false to stop; the same pull goes on later
 * from where it was. */
typedef bool (*nexus_pull_fn)(const nexus_pull_progress *progress, void *user);

typedef struct {
    const char *revision; /* a branch, tag or commit; NULL: main */
    const char *name;     /* to store it under; NULL: the file's or repository's */
    int connections;      /* 0: 4 */
    nexus_pull_fn progress;
    void *user;
} nexus_pull_options;

typedef struct {
    char *path;       /* nexus_free it */
    uint64_t bytes;   /* of the model */
    uint64_t fetched; /* of them, in this call */
    size_t files;
    bool was_there;   /* nothing had to be done */
} nexus_pull_result;

/* Fetches "org/name" or "org/name:file" (a file, or a quantization such as Q4_K_M) from the hub
 * (HF_ENDPOINT, https://huggingface.co unless set; HF_TOKEN) into the store. It appears there whole,
 * with the SHA-256 that the hub names, or not at all. options may be NULL. */
nexus_status nexus_pull(const char *what, const nexus_pull_options *options, nexus_pull_result *out);

typedef struct {
    char path[256];
    uint64_t bytes;
    bool wanted; /* nexus_pull would fetch it */
} nexus_pull_file;
/* What the repository holds; nexus_free the list. */
nexus_status nexus_pull_list(const char *what, const char *revision, nexus_pull_file **files,
                             size_t *count);

/* ---- the store ----------------------------------------------------------------------------------- */

typedef enum {
    NEXUS_IMPORT_LINK,      /* a symbolic link: the files stay where they are, and their owner's */
    NEXUS_IMPORT_HARD_LINK, /* shared files, on the same disk */
    NEXUS_IMPORT_COPY,
} nexus_import_mode;
typedef struct {
    nexus_import_mode mode;
    const char *name;           /* NULL: the file's or folder's */
    nexus_progress_fn progress; /* of a copy; may be NULL */
    void *user;
} nexus_import_options;

/* Puts a model that lies elsewhere (or that nexus_models_scan lists) into the store. *stored is its
 * path there; nexus_free it. */
nexus_status nexus_store_import(const char *path, const nexus_import_options *options, char **stored);
/* Removes a stored model by its name (of a linked one, the link). *path is where it was. */
nexus_status nexus_store_remove(const char *name, char **path);

/* Another name for a model (a path or a name); target NULL forgets it. The list is a JSON object of
 * names and targets; nexus_free it. */
nexus_status nexus_alias_set(const char *alias, const char *target);
nexus_status nexus_alias_list(char **json);

/* ---- the machine --------------------------------------------------------------------------------- */

typedef struct {
    char engine[64];         /* "own", or "system" where another mlx-c is linked */
    char interface_version[32]; /* MLX's, whose behaviour the engine has */
    char level[16];          /* of the kernels: "base", "avx2", "avx512", "avx512_bf16", "amx", "neon"; "" unknown */
    int threads, processors, cores;
    char device[64];         /* the default one */
    int gpus;
    uint64_t gpu_memory;     /* of the first GPU, in bytes; 0: none */
    bool blas, lapack;       /* OpenBLAS (Accelerate) can be loaded */
    double matmul_seconds;   /* of two 1000 x 1000 normal matrices, the best of several */
    double matmul_error;     /* the largest, relative, of a few entries against double */
    bool shares_memory;      /* arrays are made over foreign memory without a copy (measured) */
    double share_seconds;    /* for 64 MB */
} nexus_system;

/* Looks at the engine and measures it: takes about a second. */
nexus_status nexus_system_check(nexus_system *out);

/* The models LM Studio says it has (GET ADDRESS/api/v0/models; NULL: http://127.0.0.1:1234), as the
 * JSON text it answers with; nexus_free it. Only addresses of this machine are asked. NOT_FOUND:
 * nothing answers there. */
nexus_status nexus_lmstudio_models(const char *address, char **json);

/* ---- windows ------------------------------------------------------------------------------------- */

enum { NEXUS_LAYOUT_COLUMNS, NEXUS_LAYOUT_MAIN_AND_STACK, NEXUS_LAYOUT_GRID, NEXUS_LAYOUT_FOCUS,
       NEXUS_LAYOUTS };
typedef struct {
    int32_t x, y, width, height;
} nexus_rect;

/* Places n windows on the displays in each of the layouts: out[NEXUS_LAYOUTS][n]; display[n] tells
 * which one each is on (the same in all layouts: windows go round by whole runs, as many on each). All
 * of it is one evaluation of the engine, whose seconds are told (may be NULL). */
nexus_status nexus_layouts(const nexus_rect *displays, size_t n_displays, size_t n, nexus_rect *out,
                           int32_t *display, double *seconds);

/* ---- text ------------------------------------------------------------------------------------ */

/* UTF-8 text to token ids. Invalid bytes become U+FFFD and are counted in *replaced (may be NULL).
 * parse_special: texts of special tokens become those tokens. add_special: the tokens the model
 * wants at the start (and end) are added. */
nexus_status nexus_tokenize(nexus_model *m, const char *text, size_t length, bool add_special,
                            bool parse_special, int32_t **ids, size_t *count, size_t *replaced);
/* Token ids to UTF-8 text; special tokens are left out unless wanted. NUL-terminated. */
nexus_status nexus_detokenize(nexus_model *m, const int32_t *ids, size_t count, bool special,
                              char **text, size_t *length);

typedef struct {
    const char *role; /* "system", "user", "assistant" */
    const char *content;
} nexus_message;

/* The prompt the model's own chat template makes of a conversation, ending where the assistant is
 * to speak. */
nexus_status nexus_render(nexus_model *m, const nexus_message *messages, size_t count,
                          char **prompt);

/* The same from JSON: {"messages": […], "tools": […], "add_generation_prompt": true, …}; every
 * further key is a variable of the template. Messages are as OpenAI's interface has them: tool
 * calls and results included. */
nexus_status nexus_render_json(nexus_model *m, const char *request, size_t length, char **prompt);

/* A template rendered with the variables of a JSON object exactly as they are: what Jinja2 in Python,
 * set up as Hugging Face does it, makes of the same. */
nexus_status nexus_render_template(const char *source, size_t source_length, const char *variables,
                                   size_t length, char **text);
/* The same by the model's own template, with its bos_token and eos_token where they are not given. */
nexus_status nexus_render_variables(nexus_model *m, const char *variables, size_t length, char **text);

/* ---- embeddings ------------------------------------------------------------------------------ */

typedef struct {
    const char *bytes;  /* UTF-8, or NULL: */
    const int32_t *ids; /* token ids, special ones included; NULL: bytes */
    size_t length;      /* of either */
} nexus_text;

typedef struct {
    const char *pooling; /* "mean", "cls", "last"; NULL: as the model's files say, else the mean of an
                            encoder and the last token of a decoder */
    bool raw;            /* not made to have length one */
    int dimensions;      /* the first ones alone (for models trained so); 0: all */
    bool truncate;       /* texts that are too long lose their end; else they are an error */
} nexus_embed_options;

/* A vector for each text: *vectors [count, *dimensions], to nexus_free. *tokens (may be NULL): read in
 * all. A text's vector does not depend on the others. options may be NULL. */
nexus_status nexus_embed(nexus_model *m, const nexus_text *texts, size_t count,
                         const nexus_embed_options *options, float **vectors, int *dimensions,
                         size_t *tokens);

/* ---- generation ------------------------------------------------------------------------------ */

/* A conversation's state: the model's memory (KV cache) of the tokens so far. What a new prompt
 * shares with them at the start, or with those of another session of the model, is not computed
 * again. */
typedef struct nexus_session nexus_session;

typedef struct {
    int context;            /* most tokens in all; 0: 4096, or the model's most if less */
    const char *cache_type; /* "f16" (default), "bf16", "f32", "q8", "q4" */
    nexus_model *draft;     /* a smaller model that proposes tokens; NULL: none */
} nexus_session_options;

/* Whether `draft` can propose tokens for `m`: both have one vocabulary, and neither keeps states that
 * know no way back. UNSUPPORTED with a message that says what differs. */
nexus_status nexus_model_can_draft(nexus_model *draft, nexus_model *m);
/* Whether tokens can be proposed to it at all. */
bool nexus_model_takes_drafts(const nexus_model *m);

nexus_status nexus_session_new(nexus_model *m, const nexus_session_options *options,
                               nexus_session **out);
void nexus_session_free(nexus_session *s);
/* How many of these tokens, from the start, the session itself holds. */
size_t nexus_session_shared(nexus_session *s, const int32_t *prompt, size_t count);
/* Most tokens, prompt and answer together. */
int nexus_session_context(const nexus_session *s);
/* Stops the running generation soon, or, where none runs, the next one before its first token: so a
 * cancel that comes while a generation is being prepared is not lost. It ends with stop_reason
 * "cancelled", and cancels no other. Safe in handlers. */
void nexus_session_cancel(nexus_session *s);
/* Forgets a cancel that met no generation: before the session serves somebody else. */
void nexus_session_uncancel(nexus_session *s);

typedef struct {
    int32_t id;
    float bias;
} nexus_bias;

/* A form that an answer is made to have: tokens that would leave it cannot be chosen. Immutable; any
 * number of generations, of any model, may use one at once. */
typedef struct nexus_grammar nexus_grammar;
typedef enum {
    NEXUS_GRAMMAR_JSON,   /* any JSON object; text is not read */
    NEXUS_GRAMMAR_SCHEMA, /* a JSON text that satisfies this JSON schema */
    NEXUS_GRAMMAR_REGEX,  /* a text that this pattern matches as a whole */
    NEXUS_GRAMMAR_GBNF,   /* rules in llama.cpp's notation, beginning with "root" */
} nexus_grammar_kind;
/* What cannot be enforced is refused, and the message names the place. */
nexus_status nexus_grammar_new(nexus_grammar_kind kind, const char *text, size_t length,
                               nexus_grammar **out);
void nexus_grammar_free(nexus_grammar *g);

typedef struct {
    int max_tokens;       /* 0: until the model stops or the context is full */
    float temperature;    /* 0: always the likeliest token */
    int top_k;            /* keep the k likeliest; 0: all */
    float top_p;          /* keep the likeliest that together have this probability; 1: all */
    float min_p;          /* drop what is less likely than this share of the likeliest; 0: none */
    float repeat_penalty; /* divides the logits of tokens in the window; 1: none */
    uint64_t seed;        /* of the sampler; 0: a new one each time */
    const char *const *stop; /* texts that end the answer and are not part of it */
    size_t stop_count;
    bool logprobs;        /* fill nexus_piece.logprob (costs a pass over the vocabulary) */
    bool ignore_eos;      /* do not stop at end-of-turn tokens (for measurements) */
    int top_logprobs;     /* fill nexus_piece.top with this many of the likeliest; at most 20 */
    bool special_text;    /* texts of special tokens are part of the answer (not the last one's) */
    /* Further filters and penalties; 0 is off, and each is described in docs/sampling.md. */
    float typical_p;
    float xtc_probability, xtc_threshold;
    float presence_penalty, frequency_penalty; /* -2 to 2 */
    int penalty_window; /* tokens that repeat, presence and frequency look back; 0: 64; -1: all */
    float dry_multiplier, dry_base;          /* base 0: 1.75 */
    int dry_allowed_length, dry_window;      /* 0: 2 tokens; 0: all */
    int mirostat;                            /* 1 or 2 */
    float mirostat_tau, mirostat_eta;        /* 0: 5 and 0.1 */
    const nexus_grammar *grammar; /* borrowed for the call; NULL: any text */
    const char *grammar_after;    /* it begins after this text ("</think>"); NULL: at once */
    const nexus_bias *bias; /* added to the logits of these tokens; -INFINITY bans one */
    size_t bias_count;
    /* Speculation: proposed tokens are tried together in one step. The answer is the same. Proposals
     * come from the text so far where its last tokens stood before (lookup), else from the session's
     * draft model. */
    bool lookup;
    int draft_tokens; /* most a step, up to 16; 0: 4 of a model, 8 looked up; -1: none at all */
    nexus_progress_fn prefill; /* how far the prompt is read; may be NULL; gets `user` of the call */
} nexus_generate_options;

/* The defaults: 0.7 temperature, top_k 0, top_p 0.95, min_p 0, no penalty. */
nexus_generate_options nexus_generate_defaults(void);

typedef struct {
    int32_t id;
    float logprob;
} nexus_candidate;

typedef struct {
    const char *text; /* whole UTF-8 characters; may be empty */
    size_t length;
    int32_t id;     /* the token that was generated; -1 for a rest without one at the end */
    float logprob;  /* natural log of its probability before sampling filters; 0 unless asked */
    const nexus_candidate *top; /* the likeliest tokens in its place, likeliest first */
    size_t top_count;
} nexus_piece;

/* One token arrived. Return false to stop. */
typedef bool (*nexus_piece_fn)(const nexus_piece *piece, void *user);

typedef struct {
    size_t prompt_tokens;
    size_t cached_tokens; /* of the prompt, not computed again */
    size_t generated_tokens;
    size_t drafted_tokens;  /* proposed */
    size_t accepted_tokens; /* of them, right */
    double prefill_seconds;
    double decode_seconds;
    double time_to_first_token_seconds;
    uint64_t peak_memory_bytes; /* most memory of the process so far, mapped weights included */
    char stop_reason[16];       /* "eos", "stop", "length", "context", "cancelled" */
    char stop_text[64];         /* the text that stopped it, cut to fit; "" for other reasons */
} nexus_stats;

/* Continues token ids. options NULL: the defaults; piece NULL: only statistics. A cancelled
 * generation returns NEXUS_OK with that stop_reason. */
nexus_status nexus_generate(nexus_session *s, const int32_t *prompt, size_t count,
                            const nexus_generate_options *options, nexus_piece_fn piece, void *user,
                            nexus_stats *stats);
/* The same for a text that is continued as it stands, and for a conversation. */
nexus_status nexus_complete(nexus_session *s, const char *text,
                            const nexus_generate_options *options, nexus_piece_fn piece, void *user,
                            nexus_stats *stats);
nexus_status nexus_chat(nexus_session *s, const nexus_message *messages, size_t count,
                        const nexus_generate_options *options, nexus_piece_fn piece, void *user,
                        nexus_stats *stats);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif
