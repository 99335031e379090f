/* ollama.h: what files that speak ollama's interface share. */
#ifndef NX_SERVER_OLLAMA_H
#define NX_SERVER_OLLAMA_H

#include "server/fields.h"

/* "keep_alive": "5m", "1h30m", 300, "0", -1: seconds; < 0 the server's own. */
double ollama_keep_alive(fields *f);

#endif
