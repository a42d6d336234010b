/* SPDX-License-Identifier: Apache-2.0 */
/* How often a byte is in text: of 65536 bytes of C headers and documentation
 * (the beginnings of the files of /usr/include and /usr/share/doc of a Debian
 * 12). Only speed depends on it. */
#ifndef SCAN_WEIGHTS_H
#define SCAN_WEIGHTS_H

#include <stdint.h>

static const uint16_t scan_weights[128] = {
	9, 2, 2, 1, 2, 1, 1, 1, 2, 278, 1664, 1,
	1, 1, 1, 1, 2, 1, 1, 1, 1, 1, 1, 1,
	1, 1, 1, 1, 1, 1, 1, 1, 10058, 17, 214, 337,
	11, 7, 55, 58, 658, 659, 790, 30, 573, 581, 418, 742,
	385, 273, 241, 118, 89, 117, 88, 57, 79, 116, 216, 288,
	229, 199, 230, 5, 36, 567, 218, 638, 357, 889, 294, 232,
	150, 673, 26, 140, 583, 329, 618, 641, 536, 21, 650, 1020,
	723, 234, 147, 75, 172, 97, 23, 41, 57, 41, 3, 2490,
	34, 1945, 450, 1511, 1394, 4176, 1012, 550, 952, 2389, 49, 489,
	1410, 758, 2406, 2042, 1071, 42, 2021, 2406, 2980, 938, 338, 264,
	304, 534, 68, 84, 26, 83, 5, 1,
};

static inline uint32_t scan_weight(unsigned char c)
{
	return c < 128 ? scan_weights[c] : 8;
}

#endif
