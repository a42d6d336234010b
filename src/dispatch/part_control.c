/* SPDX-License-Identifier: Apache-2.0 */
/* The control buffer: made, checked, read. */
#include <errno.h>

#include "base/error.h"
#include "base/params.h"
#include "dispatch/layout.h"

#define WORD_OFFSET 5
#define WORD_TENANTS 6
#define WORD_RESERVED 14     /* to 15 */
#define WORD_PRIORITIES 154  /* priority_done[5], to 159 */

#define OBSERVABLES_DEFAULT 64u

MK_ASSERT_AT(struct mk_control, observable_offset, 4 * WORD_OFFSET);
MK_ASSERT_AT(struct mk_control, tenants, 4 * WORD_TENANTS);
MK_ASSERT_AT(struct mk_control, reserved, 4 * WORD_RESERVED);
MK_STATIC_ASSERT(MK_OFFSETOF(struct mk_control, priority_done) +
			 8 * MK_PRIORITIES == 4 * WORD_PRIORITIES,
		 "where the priorities that do not exist are");

int64_t mk_control_bytes(uint64_t observables)
{
	return mk_part_bytes(MK_PART_CONTROL, observables, __func__);
}

int64_t mk_control_encode(const struct mk_control_params *params, void *data,
			  uint64_t bytes)
{
	struct mk_control_params p;
	struct mk_control *control = data;
	int64_t takes;
	int r;

	r = mk_params_copy(&p, sizeof(p), sizeof(p), params, __func__);
	if (r < 0)
		return r;
	if (p.tenants > MK_TENANTS)
		return mk_error_set(-EINVAL, 0, __func__,
				    "tenants is %u, must be 1 to %u (0: %u)",
				    p.tenants, MK_TENANTS, MK_TENANTS);
	if (p.shutdown > 1)
		return mk_error_set(-EINVAL, 0, __func__,
				    "shutdown is %u, must be 0 or 1",
				    p.shutdown);
	if (!p.observables)
		p.observables = OBSERVABLES_DEFAULT;
	takes = mk_part_encode(MK_PART_CONTROL, p.observables, data, bytes,
			       __func__);
	if (takes < 0)
		return takes;
	control->observable_offset = sizeof(*control);
	control->tenants = p.tenants ? p.tenants : MK_TENANTS;
	control->shutdown = p.shutdown;
	if (p.words)
		memcpy(control + 1, p.words, 8u * (size_t)p.observables);
	return takes;
}

int mk_control_check(const struct mk_check *c, const void *data,
		     uint64_t bytes, struct mk_control *head)
{
	uint64_t end;
	int r;

	r = mk_part_check(c, data, bytes, head);
	if (r < 0)
		return r;
	end = head->observable_offset + 8ull * head->observables;
	if (head->observable_offset % 8)
		return mk_check_fail(c, -MK_EALIGN, WORD_OFFSET,
				     "(observable_offset): %u, must be a "
				     "multiple of 8", head->observable_offset);
	/* no opcode may reach the counters through a word */
	if (head->observable_offset < sizeof(*head))
		return mk_check_fail(c, -MK_ELAYOUT, WORD_OFFSET,
				     "(observable_offset): %u, must be %zu or "
				     "more", head->observable_offset,
				     sizeof(*head));
	if (end > head->header.bytes)
		return mk_check_fail(c, -MK_ETRUNC, WORD_OFFSET,
				     "(observable_offset): %u; %u words from "
				     "there exceed the %u bytes",
				     head->observable_offset,
				     head->observables, head->header.bytes);
	if (!head->tenants || head->tenants > MK_TENANTS)
		return mk_check_fail(c, -MK_ELAYOUT, WORD_TENANTS,
				     "(tenants): %u, must be 1 to %u",
				     head->tenants, MK_TENANTS);
	r = mk_check_reserved(c, head, WORD_RESERVED, WORD_RESERVED + 1);
	if (r < 0)
		return r;
	return mk_check_reserved(c, head, WORD_PRIORITIES,
				 WORD_PRIORITIES + 5);
}

int mk_control_check_input(const char *operation, const void *data,
			   uint64_t bytes)
{
	struct mk_check c = { .operation = operation,
			      .part = MK_PART_CONTROL };
	struct mk_control head;

	return mk_control_check(&c, data, bytes, &head);
}

int mk_control_decode(const void *data, uint64_t bytes,
		      struct mk_control_info *out)
{
	struct mk_check c = { .operation = __func__, .part = MK_PART_CONTROL };
	struct mk_control head;
	int r;

	r = mk_control_check(&c, data, bytes, &head);
	if (!r && !out)
		r = mk_error_null(__func__, "out");
	if (r < 0)
		return r;
	memset(out, 0, sizeof(*out));
	out->shutdown = head.shutdown;
	out->tenants = head.tenants;
	out->observables = head.observables;
	out->epoch = head.epoch;
	out->done = head.done;
	out->failed = head.failed;
	memcpy(out->tenant_done, head.tenant_done, sizeof(out->tenant_done));
	memcpy(out->priority_done, head.priority_done,
	       sizeof(out->priority_done));
	memcpy(out->opcode_done, head.opcode_done, sizeof(out->opcode_done));
	out->words = (const uint64_t *)((const unsigned char *)data +
					head.observable_offset);
	return 0;
}
