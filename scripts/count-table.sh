#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Print the table count_runs[] of handlers/count.c, from the iswprint() and
# iswspace() of this machine's C library. LC_ALL has to be a UTF-8 locale;
# default: C.UTF-8.
set -eu

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cat >"$dir/table.c" <<'END'
#include <locale.h>
#include <stdio.h>
#include <wctype.h>

/* As enum count_kind. */
static unsigned kind(wint_t c)
{
	if (!iswprint(c))
		return 0;
	if (c == 0xa0 || c == 0x2007 || c == 0x202f || c == 0x2060)
		return 3;
	return iswspace(c) ? 2 : 1;
}

int main(void)
{
	unsigned last = 4, column = 72;
	char text[16];

	if (!setlocale(LC_ALL, "") || !iswprint(0xe9))
		return 1;
	for (wint_t c = 0x80; c < 0x110000; c++) {
		unsigned k = kind(c), n;

		if (k == last)
			continue;
		last = k;
		n = (unsigned)sprintf(text, "0x%xu,", (unsigned)c << 2 | k);
		if (column + 1 + n > 70) {
			printf("%s\t%s", c == 0x80 ? "" : "\n", text);
			column = n;
		} else {
			printf(" %s", text);
			column += 1 + n;
		}
	}
	putchar('\n');
	return 0;
}
END
"${CC:-cc}" -std=c11 -o "$dir/table" "$dir/table.c"
LC_ALL=${LC_ALL:-C.UTF-8} "$dir/table"
