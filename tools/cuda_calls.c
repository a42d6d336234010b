/* SPDX-License-Identifier: Apache-2.0 */
#include "cuda_calls.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

int cuda_calls_load(struct cuda_calls *c, char *why, size_t room)
{
	static const struct {
		const char *name;
		size_t at;
	} symbols[] = {
#define SYMBOL(field, symbol, args) \
	{ #symbol, offsetof(struct cuda_calls, field) },
		CUDA_CALLS(SYMBOL)
#undef SYMBOL
	};
	void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);

	if (!library) {
		snprintf(why, room, "there is no CUDA driver (%s)", dlerror());
		return -1;
	}
	for (size_t i = 0; i < sizeof(symbols) / sizeof(symbols[0]); i++) {
		void *found = dlsym(library, symbols[i].name);

		if (!found) {
			snprintf(why, room, "the CUDA driver has no %s: one of "
				 "CUDA 11.4 or newer is needed",
				 symbols[i].name);
			return -1;
		}
		memcpy((char *)c + symbols[i].at, &found, sizeof(found));
	}
	return 0;
}
