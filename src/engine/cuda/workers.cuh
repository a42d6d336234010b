/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting for the workers: who wants a change to be known to all of them. */
#ifndef MK_CUDA_WORKERS_CUH
#define MK_CUDA_WORKERS_CUH

/* What all workers are told, the same for all lanes. */
MKD_FN struct mkd_unit mkd_orders(const struct mkd_state *state)
{
	struct mkd_unit c = mkd_load16((uint64_t)state);

	c.x = mkd_shfl(c.x, 0);
	c.y = mkd_shfl(c.y, 0);
	c.z = mkd_shfl(c.z, 0);
	c.w = mkd_shfl(c.w, 0);
	return c;
}

#define MKD_STRICT 0xfffffffeu

enum mkd_seen {
	MKD_SEEN_ALL = 0,
	MKD_SEEN_SOON = 1, /* those that miss are about to look */
	MKD_SEEN_BUSY = 2  /* those that miss run handlers */
};

/*
 * Has every worker acted on this epoch? One that runs a handler is excused,
 * unless its slot is of queue `place`: it looks at everything anew when it
 * comes back. With MKD_STRICT nobody is excused. All lanes of a warp.
 *
 * The caller made its change, then bumped the epoch (seq_cst); a worker says
 * that it is not busy, then looks (mkd_announce()).
 */
MKD_FN uint32_t mkd_who_saw(const struct mkd_launch *l, uint32_t lane,
			    uint32_t epoch, uint32_t place)
{
	const struct mkd_worker *workers =
		(const struct mkd_worker *)l->workers;
	uint32_t n = l->workers_count, missing = 0, late = 0;

	mkd_fence();
	for (uint32_t i = 0; i < n; i += MKD_LANES) {
		uint32_t busy = 0, seen = epoch;
		bool miss;

		if (i + lane < n) {
			busy = mkd_load32(&workers[i + lane].busy);
			seen = mkd_load32(&workers[i + lane].seen);
		}
		miss = (int32_t)(seen - epoch) < 0 &&
		       (!busy || busy == MKD_BUSY_LIGHT ||
			place == MKD_STRICT || busy == place + 1u);
		missing |= mkd_ballot(miss);
		late |= mkd_ballot(miss && !busy);
	}
	mkd_fence();
	return !missing ? MKD_SEEN_ALL : late ? MKD_SEEN_SOON : MKD_SEEN_BUSY;
}

MKD_FN bool mkd_all_saw(const struct mkd_launch *l, uint32_t lane,
			uint32_t epoch, uint32_t place)
{
	return mkd_who_saw(l, lane, epoch, place) == MKD_SEEN_ALL;
}

/* Make a change known. Returns the epoch to wait for. All lanes. */
MKD_FN uint32_t mkd_bump(struct mkd_state *state, uint32_t lane)
{
	uint32_t epoch = 0;

	if (!lane) {
		mkd_fence();
		epoch = mkd_add32(&state->epoch, 1) + 1u;
	}
	return mkd_shfl(epoch, 0);
}

#endif
