/* SPDX-License-Identifier: Apache-2.0 */
/* The texts that the library carries for NVRTC; made by embed.cmake. */
#ifndef MK_CUDA_TEXTS_H
#define MK_CUDA_TEXTS_H

#include "engine/cuda/compiler.h"

/* Headers under the names that #include uses; handlers under
 * "handlers/<file>". */
extern const struct mkc_text mkc_texts[];
extern const unsigned mkc_text_count;

#endif
