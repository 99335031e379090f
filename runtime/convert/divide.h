/*
 * divide.h: matrices that config.json's formats have in one and GGUF in several, as items of their own.
 */
#ifndef NX_RUNTIME_CONVERT_DIVIDE_H
#define NX_RUNTIME_CONVERT_DIVIDE_H

#include "runtime/convert/items.h"

/* Where a row's name in GGUF is several by '&': whether the format has a row for each. */
bool item_divides(const item *t, const model_arch *a, bool to_gguf);
/* Whether it is one of several, or another spelling, of what Hugging Face's folders have in one. */
bool item_is_share(const item *t, const model_arch *a);
/* One item for each of those names, with the row of that name, in place of those for which `which` is true:
 * of three names q, k and v by KV head, of two the rows in turn. `turned` is known by now. False with a
 * message. */
bool items_divide(item_vec *items, const model *m, bool (*which)(const void *arg, const item *t), const void *arg);

#endif
