/* SPDX-License-Identifier: Apache-2.0 */
/* For the worker program: say which slot it was before a handler's crash ends
 * the process. */
#ifndef MK_CPU_GUARD_H
#define MK_CPU_GUARD_H

/*
 * Catch the signals of a crash in this process, for good. Only for a process
 * that is nobody else's: the dispositions of signals are the program's affair.
 * The workers of engines that are opened afterwards put the fault into their
 * blocks, let the others finish for a moment, and then die of the signal.
 */
void mk_cpu_guard_process(void);

#endif
