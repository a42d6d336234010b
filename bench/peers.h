/* SPDX-License-Identifier: Apache-2.0 */
/* What people use today to hand small pieces of work to other threads. */
#ifndef PEERS_H
#define PEERS_H

#include "harness.h"

#ifdef __cplusplus
extern "C" {
#endif

extern const struct subject peer_pool, peer_pool_batch;
extern const struct subject peer_uv;
extern const struct subject peer_omp;
extern const struct subject peer_tbb;

#ifdef __cplusplus
}
#endif
#endif
