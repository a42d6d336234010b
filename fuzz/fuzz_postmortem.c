/* SPDX-License-Identifier: Apache-2.0 */
/* Arbitrary bytes as a record of evidence: refused with a reason, or shown
 * with nothing that a terminal would obey. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "postmortem.h"

#include "require.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char why[512] = "", *text = NULL;
	json_t *record = postmortem_read((const char *)data, size, why,
					 sizeof(why));
	size_t n = 0;
	FILE *out;

	if (!record) {
		REQUIRE(why[0] && strlen(why) < sizeof(why));
		for (const char *p = why; *p; p++)
			REQUIRE(*p >= 0x20 && *p < 0x7f);
		return 0;
	}
	out = open_memstream(&text, &n);
	REQUIRE(out);
	postmortem_print(record, out);
	REQUIRE(!fclose(out) && n);
	for (size_t i = 0; i < n; i++)
		REQUIRE(text[i] == '\n' || (text[i] >= 0x20 && text[i] < 0x7f));
	free(text);
	json_decref(record);
	return 0;
}
