/* SPDX-License-Identifier: Apache-2.0 */
#include "scan/scan_compile.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scan/scan_image.h"

static int only_literals(const struct scan_pattern *patterns, size_t count,
			 const struct scan_options *options,
			 struct scan_problem *problem)
{
	for (size_t i = 0; i < count; i++) {
		problem->pattern = i;
		for (size_t j = 0; j < patterns[i].bytes; j++) {
			problem->at = j;
			if (options->syntax != SCAN_FIXED &&
			    strchr("\\^$.[]*+?{}()|", patterns[i].text[j])) {
				snprintf(problem->text, sizeof(problem->text),
					 "only text is understood: -F");
				return -EINVAL;
			}
		}
		if (!patterns[i].bytes || options->whole_line) {
			snprintf(problem->text, sizeof(problem->text),
				 "an empty pattern, or -x");
			return -EINVAL;
		}
	}
	if (count)
		return 0;
	problem->pattern = SIZE_MAX;
	snprintf(problem->text, sizeof(problem->text), "there is no pattern");
	return -EINVAL;
}

int scan_compile(const struct scan_pattern *patterns, size_t count,
		 const struct scan_options *options, void **image,
		 size_t *bytes, struct scan_problem *problem)
{
	struct scan_image m = { 0 };
	int r;

	memset(problem, 0, sizeof(*problem));
	r = only_literals(patterns, count, options, problem);
	if (r)
		return r;
	r = scan_image_begin(&m, MK_SCAN_LITERALS);
	if (!r)
		r = scan_build_literals(patterns, count, options->fold, &m);
	if (!r)
		scan_image_end(&m, image, bytes);
	scan_image_drop(&m);
	return r;
}
