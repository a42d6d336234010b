/* SPDX-License-Identifier: Apache-2.0 */
/* The engines of this library. */
#include "engine/engine.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/order.h"
#ifdef MK_WITH_CUDA
#include "engine/cuda/compiler.h"
#endif

#ifdef MK_WITH_MOCK
extern const struct mk_engine_ops mk_engine_mock;
#endif

static const struct mk_engine_ops *const engines[] = {
	&mk_engine_cpu,
#ifdef MK_WITH_CUDA
	&mk_engine_cuda,
#endif
};

#define ENGINES (sizeof(engines) / sizeof(engines[0]))

const struct mk_engine_ops *mk_engine_find(const char *name)
{
	if (!name)
		return engines[0];
	for (unsigned i = 0; i < ENGINES; i++)
		if (!strcmp(engines[i]->name, name))
			return engines[i];
#ifdef MK_WITH_MOCK
	if (!strcmp(mk_engine_mock.name, name))
		return &mk_engine_mock;
#endif
	return NULL;
}

void mk_engine_words(const struct mk_context_block *b, struct mk_error *why)
{
	char words[MK_WORDS_BYTES];
	size_t n = 0;

	/* pairs with the engine's store, after the words */
	if (mk_load_acquire(&b->state) != MK_ENGINE_FAILED)
		return;
	while (n + 1 < sizeof(words)) {
		char c = mk_load_relaxed(&b->words[n]);

		if (!c)
			break;
		words[n++] = c >= ' ' && c <= '~' ? c : '?';
	}
	words[n] = '\0';
	if (!n)
		return;
	why->native = mk_load_relaxed(&b->words_native);
	snprintf(why->text, sizeof(why->text), "%s", words);
}

/* Not a matter of probing: a client that has no module does not load it. */
static void list_compiler(const struct mk_engine_ops *ops,
			  struct mk_engine_info *info)
{
#ifdef MK_WITH_CUDA
	if (ops == &mk_engine_cuda && !info->available) {
		struct mk_error before = *mk_error_last();

		info->compiler = mkc_compiler_number();
		mk_error_copy(&before); /* that there is none is no failure */
	}
#else
	(void)ops;
	(void)info;
#endif
}

int mk_engine_list(struct mk_engine_info *out, unsigned n)
{
	struct mk_error before = *mk_error_last();
	unsigned have = 0;

	if (n && !out)
		return mk_error_null("mk_engine_list", "out");
	for (unsigned i = 0; i < ENGINES; i++) {
		for (uint32_t device = 0;; device++) {
			struct mk_engine_info info;
			int none;

			memset(&info, 0, sizeof(info));
			info.device = device;
			none = engines[i]->probe(&info);
			mk_error_copy(&before); /* to list it is no failure */
			/* device 0 is listed even if it is not there */
			if (none && device)
				break;
			list_compiler(engines[i], &info);
			if (have < n)
				out[have] = info;
			have++;
			if (none)
				break;
		}
	}
	return (int)have;
}
