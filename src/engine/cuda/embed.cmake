# SPDX-License-Identifier: Apache-2.0
#
# Put texts into a C file:
#   cmake -DOUT=embedded.c -DTEXTS="name=path;name=path" -P embed.cmake
#
# Every text becomes an array of bytes with a zero behind, so no compiler's
# limit on string literals matters.

set(arrays "")
set(entries "")
set(n 0)
foreach(item IN LISTS TEXTS)
	string(REGEX MATCH "^([^=]+)=(.+)$" ok "${item}")
	if(NOT ok)
		message(FATAL_ERROR "embed.cmake: ${item} is not name=path")
	endif()
	set(name "${CMAKE_MATCH_1}")
	file(READ "${CMAKE_MATCH_2}" hex HEX)
	string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
	string(REGEX REPLACE
		"(0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,)"
		"\\1\n" bytes "${bytes}")
	string(APPEND arrays
		"static const unsigned char text_${n}[] = {\n${bytes}0};\n")
	string(APPEND entries
		"\t{ \"${name}\", (const char *)text_${n} },\n")
	math(EXPR n "${n} + 1")
endforeach()
file(WRITE "${OUT}"
"/* Made by embed.cmake: do not edit. */
#include \"engine/cuda/texts.h\"

${arrays}
const struct mkc_text mkc_texts[] = {
${entries}};
const unsigned mkc_text_count = ${n};
")
