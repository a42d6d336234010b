/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file recovery.h
 * Bringing a lost context back, slots that are late or hang, and what was
 * going on. Part of megakernel.h, which includes it; its conventions hold.
 */
#ifndef MEGAKERNEL_RECOVERY_H
#define MEGAKERNEL_RECOVERY_H

#include <megakernel.h>

#ifdef __cplusplus
extern "C" {
#endif

/** What becomes of a context whose device or worker process is lost. */
enum mk_recovery {
	MK_RECOVERY_DEFAULT = 0, /* process: BUDGET; none: OFF */
	MK_RECOVERY_OFF = 1,    /* it stays lost until mk_ctx_recover() */
	MK_RECOVERY_ONCE = 2,   /* the first loss is recovered from */
	MK_RECOVERY_BUDGET = 3  /* restarts_max in restart_window_ns */
};

/**
 * Bring a lost context back: a new worker process, the queues, buffers and
 * modules handed to it again. Buffers keep, get back or lose their content as
 * their flags say (enum mk_buffer_flags).
 *
 * This is what mk_ctx_params.recovery does by itself; here for recovery OFF,
 * and for a context whose budget is used up, which it renews.
 *
 * Slots in flight: those that were not begun run. One that was ends with
 * -MK_EFAULT if its handler crashed, -MK_EHUNG (or -MK_EOVERRUN, if it was its
 * deadline) if it made no progress, else with -MK_EMAYRUN: the process died
 * around it. Flagged MK_SLOT_IDEMPOTENT it runs again instead, once: running
 * for the second time when the process is lost, it ends with -MK_EPOISON.
 * MK_OP_NOP, _LOAD and _FENCE always run again.
 *
 * @param timeout_ns     bounds the start and each command of the new process,
 *                       as mk_ctx_params.command_ns does, whichever is less.
 * @retval -EALREADY     the context is not lost.
 * @retval -EOPNOTSUPP   isolation none: the engine shares the caller's fate.
 * @retval -MK_EWORKER   the new worker process could not be started, or not in
 *                       time; the context stays lost.
 */
MK_API int mk_ctx_recover(struct mk_ctx *ctx, uint64_t timeout_ns);

/**
 * Give slots of an opcode a deadline by default: this long after they are
 * submitted, unless they have one (mk_slot_deadline()). A slot that ends late
 * ends as one with a deadline of its own. For slots submitted from now on; the
 * default goes with its handler's module. Thread-safe.
 *
 * @param ns  0: none.
 * @retval -MK_EOPCODE  no loaded handler has this opcode.
 */
MK_API int mk_ctx_deadline(struct mk_ctx *ctx, uint16_t opcode, uint64_t ns);

/**
 * mk_queue_cancel_all() on every queue. A worker whose slot ends because of it
 * runs none of another queue that was there before. Thread-safe; takes a lock.
 *
 * @return how many unanswered slots were asked.
 */
MK_API int64_t mk_ctx_cancel(struct mk_ctx *ctx);

/** Do workers say in the shared memory which slot they run? */
enum mk_heartbeat {
	MK_HEARTBEAT_ON = 0,
	/* No: to measure what it costs. Then nobody knows which slots had
	 * begun when the device is lost: every one that was claimed counts as
	 * begun. A slot is found to hang only if a worker is idle beside it,
	 * and the record of evidence names none. */
	MK_HEARTBEAT_OFF = 1
};

enum mk_evidence_format {
	MK_EVIDENCE_TEXT = 0, /* for people */
	MK_EVIDENCE_JSON = 1  /* "megakernel evidence" version 1, see
			       * docs/reliability.md */
};

/**
 * What was going on when the device was last lost, or a hang, or slots that
 * wait in vain, were found: for
 * each worker its slot, handler, arguments, since when, its counters; each
 * queue with the last records of its debug log. Taken before a hung process is
 * killed. Also in evidence_dir, as evidence-PID-NUMBER.txt and .json: one pair
 * for each, by the end of mk_ctx_destroy() at the latest. None replaces a file
 * that is there. While it cannot be written (disk, descriptors) the record
 * says so and why, and it is tried again about once a second.
 *
 * Thread-safe; takes a lock.
 *
 * @param format  enum mk_evidence_format.
 * @param out     room for `room` bytes, with the terminating zero; may be NULL
 *                if room is 0.
 * @return the bytes that there are without the zero, which may exceed room;
 *         0: nothing was lost yet.
 * @retval -EINVAL  format is not one of the enum.
 */
MK_API int64_t mk_ctx_evidence(struct mk_ctx *ctx, uint32_t format, char *out,
			       size_t room);

#ifdef __cplusplus
}
#endif
#endif
