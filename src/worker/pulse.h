/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hearing at once that a process dies. Its end can take long: before it can be
 * reaped, or its descriptors are closed, the kernel takes down all its memory,
 * which for that of a GPU's driver is tens of milliseconds. But the first
 * thing that an ending thread does is to let go of its robust futexes. So a
 * thread of the worker process, which does nothing else, holds one: a word in
 * the shared memory, which the caller sleeps on.
 */
#ifndef MK_WORKER_PULSE_H
#define MK_WORKER_PULSE_H

#include <stdint.h>

/* The worker: from now on the word says that this process lives. 0, or a
 * negated errno: there is no thread for it. */
int mk_pulse_start(uint32_t *word);

struct mk_pulse;

/*
 * The caller: call dying(), once, from a thread of its own, when the word says
 * that the process ends. It must not call back. NULL: no thread, or the
 * word says nothing; one does without.
 */
struct mk_pulse *mk_pulse_watch(uint32_t *word, void (*dying)(void *arg),
				void *arg);

/* No dying() any more; NULL will do. Never blocks long. */
void mk_pulse_end(struct mk_pulse *p);

#endif
