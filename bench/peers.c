/* SPDX-License-Identifier: Apache-2.0 */
/*
 * megakernel-bench-peers: the measurements of `megakernel bench`, of others.
 * A program of its own, so that `megakernel` needs none of their libraries;
 * `megakernel bench` runs it and reads its JSON.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "peers.h"

static const struct subject *const peers[] = {
	&peer_pool, &peer_pool_batch,
#ifdef WITH_UV
	&peer_uv,
#endif
#ifdef WITH_OPENMP
	&peer_omp,
#endif
#ifdef WITH_TBB
	&peer_tbb,
#endif
};

int main(int argc, char **argv)
{
	json_t *all = json_array();
	unsigned workers = 1;
	bool quick = false;

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--quick")) {
			quick = true;
		} else if (!strcmp(argv[i], "--workers") && i + 1 < argc &&
			   atoi(argv[i + 1]) > 0) {
			workers = (unsigned)atoi(argv[++i]);
		} else {
			fprintf(stderr,
				"Usage: %s [--workers N] [--quick]\n"
				"Run by 'megakernel bench'.\n",
				argv[0]);
			return 2;
		}
	}
	for (size_t i = 0; i < sizeof(peers) / sizeof(peers[0]); i++) {
		struct harness_result result;

		if (!harness_measure(peers[i], workers, quick, &result))
			json_array_append_new(all, harness_to_json(&result));
	}
	json_dumpf(all, stdout, JSON_COMPACT);
	putchar('\n');
	json_decref(all);
	return fflush(stdout) ? 1 : 0;
}
