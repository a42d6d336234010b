/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests to the host: slots that read a piece of a file, change it and write
 * it to another place, waiting for both by yielding. There are more of them
 * than places in the IO queue, and now and then the service is ended and
 * another takes its place in the middle. Whatever is lost in between, every
 * request that was posted has its answer, every slot one ending, and each
 * piece of the file is what a slot that ended well left there, or else what
 * it was before or was to be: never a mixture.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/order.h"
#include "chaos.h"

#define SLOTS CHAOS_COPIES
#define PIECE CHAOS_PIECE
#define RECORDS 8u
#define HALF ((uint64_t)SLOTS * PIECE)
#define LAST_WAIT_NS 60000000000u

/* Steps: 0 and 1 ask for the piece, 2 waits for it, 3 asks for its way back,
 * 4 waits for that. The struct is the one below. */
const char chaos_io_source[] =
	"#include <megakernel/handler.h>\n"
	"struct copy { struct mk_ref buffer; uint64_t at, salt;\n"
	"	      uint32_t file, word, step, pieces, bytes; };\n"
	"MK_FN int32_t ask(struct mk_task *task, struct copy *c, int back)\n"
	"{\n"
	"	uint64_t buffer = c->buffer.index |\n"
	"			  (uint64_t)c->buffer.generation << 32;\n"
	"	uint32_t at = (c->word + (back ? c->pieces : 0)) * c->bytes;\n"
	"	struct mk_io_record r = { 0 };\n"
	"	int32_t e;\n"
	"	r.op = back ? 2 : 1;\n"
	"	r.source = back ? buffer : c->file;\n"
	"	r.target = back ? c->file : buffer;\n"
	"	r.offset = r.buffer_offset = at;\n"
	"	r.bytes = c->bytes;\n"
	"	e = mk_io_request(task, &r, &c->at);\n"
	"	if (e && e != -MK_EFULL)\n"
	"		return e;\n"
	"	c->step = (back ? 3 : 1) + !e;\n"
	"	return mk_yield(task, c, sizeof(*c));\n"
	"}\n"
	"MK_FN uint64_t change(struct mk_task *task, const struct copy *c,\n"
	"		      int *bad)\n"
	"{\n"
	"	const unsigned char *in = mk_read_at(task, c->buffer,\n"
	"				c->word * c->bytes, c->bytes);\n"
	"	unsigned char *out = mk_write_at(task, c->buffer,\n"
	"		(c->word + c->pieces) * c->bytes, c->bytes);\n"
	"	uint64_t sum = c->salt;\n"
	"	*bad = !in || !out;\n"
	"	for (uint32_t i = 0; !*bad && i < c->bytes; i++) {\n"
	"		out[i] = (unsigned char)(in[i] + i) ^\n"
	"			 (unsigned char)(c->salt >> 8 * (i & 7));\n"
	"		sum = sum * 31 + out[i];\n"
	"	}\n"
	"	return sum;\n"
	"}\n"
	"MK_HANDLER_THREAD(chaos_copy, struct copy)\n"
	"{\n"
	"	uint64_t *word = mk_observable(task, args->word);\n"
	"	struct copy next = *args;\n"
	"	uint64_t moved = 0;\n"
	"	int32_t e;\n"
	"	int bad = 0;\n"
	"	if (!word)\n"
	"		return mk_fail(task);\n"
	"	if (args->step == 0)\n"
	"		mk_fetch_add(word, 1);\n"
	"	if (args->step < 2)\n"
	"		return ask(task, &next, 0);\n"
	"	if (args->step == 3)\n"
	"		return ask(task, &next, 1);\n"
	"	e = mk_io_answer(task, args->at, &moved);\n"
	"	if (e == 0)\n"
	"		return mk_yield(task, &next, sizeof(next));\n"
	"	if (e != 1 || moved != args->bytes)\n"
	"		return e < 0 ? e : -7;\n"
	"	if (args->step == 4) {\n"
	"		mk_value(task, args->salt);\n"
	"		return MK_OK;\n"
	"	}\n"
	"	next.salt = change(task, args, &bad);\n"
	"	if (bad)\n"
	"		return mk_fail(task);\n"
	"	return ask(task, &next, 1);\n"
	"}\n";

struct copy_args {
	struct mk_ref buffer;
	uint64_t at, salt;
	uint32_t file, word, step, pieces, bytes;
};

static void nap(void)
{
	struct timespec t = { 0, 300000 };

	nanosleep(&t, NULL);
}

/* What a piece is to be; its sum, which is the slot's value. */
static uint64_t model(const struct chaos_io *w, uint32_t piece, uint64_t salt,
		      unsigned char *out)
{
	const unsigned char *in = w->bytes + (size_t)piece * PIECE;
	uint64_t sum = salt;

	for (uint32_t i = 0; i < PIECE; i++) {
		out[i] = (unsigned char)(in[i] + i) ^
			 (unsigned char)(salt >> 8 * (i & 7));
		sum = sum * 31 + out[i];
	}
	return sum;
}

static void wrong(struct chaos_io *w, uint32_t i, int32_t result,
		  const char *what)
{
	w->tally.wrong++;
	chaos_complain(w->chaos, "io: slot %u ended with %s, and %s", i,
		       mk_code_name(result), what);
}

/* ---- the service --------------------------------------------------------- */

/* Descriptors may be short just now: until it goes. */
static bool serve(struct chaos_io *w)
{
	struct mk_io_params p = { .size = sizeof(p), .entries = 4,
				  .flags = MK_IO_THREAD };
	uint64_t deadline = mk_deadline_after(LAST_WAIT_NS);
	int r;

	for (;;) {
		uint32_t file = 0;

		p.flags ^= w->random & 2 ? MK_IO_NO_URING : 0;
		r = mk_io_create(w->chaos->load.ctx, &p, &w->io);
		if (!r)
			r = mk_io_file_add(w->io, w->fd, MK_IO_MAY_READ |
					   MK_IO_MAY_WRITE, &file);
		if (!r)
			r = mk_io_queue_add(w->io, w->q);
		/* slots may be under way that name it so */
		if (!r && (!w->file || file == w->file)) {
			w->file = file;
			return true;
		}
		mk_io_destroy(w->io, LAST_WAIT_NS);
		w->io = NULL;
		if (!mk_time_left(deadline))
			break;
		nap();
	}
	w->tally.wrong++;
	chaos_complain(w->chaos, "io: no service: %s", mk_error_last()->text);
	return false;
}

static bool serve_anew(struct chaos_io *w)
{
	int r = mk_io_destroy(w->io, LAST_WAIT_NS);

	if (r) {
		w->tally.wrong++;
		chaos_complain(w->chaos, "io: the service does not end: %s",
			       mk_code_name(r));
		return false;
	}
	w->io = NULL;
	mk_count(&w->services, 1);
	return serve(w);
}

/* Nothing of the round is under way any more: what slots that were lost had
 * asked for is answered too. */
static bool await_quiet(struct chaos_io *w)
{
	uint64_t deadline = mk_deadline_after(LAST_WAIT_NS);
	struct mk_io_info info = { 0 };

	while (mk_time_left(deadline)) {
		if (!mk_queue_io_info(w->q, &info) &&
		    info.posted == info.taken)
			return true;
		nap();
	}
	w->tally.lost++;
	chaos_complain(w->chaos, "io: %llu requests have no answer",
		       (unsigned long long)(info.posted - info.taken));
	return false;
}

/* ---- a round ------------------------------------------------------------- */

static bool submit(struct chaos_io *w)
{
	struct mk_slot *s;
	int n = mk_queue_get(w->q, SLOTS, &s);

	if (n != (int)SLOTS) {
		for (int i = 0; i < n; i++)
			mk_slot_init(&s[i], MK_OP_NOP, UINT64_MAX);
		if (n > 0)
			mk_queue_submit(w->q, s, (unsigned)n);
		return false;
	}
	for (uint32_t i = 0; i < SLOTS; i++) {
		struct copy_args a = { .buffer = mk_buffer_ref(w->buffer),
				       .salt = w->salt[i], .file = w->file,
				       .word = i, .pieces = SLOTS,
				       .bytes = PIECE };

		mk_slot_init(&s[i], w->opcode, w->rounds * SLOTS + i);
		s[i].flags = (w->random >> i) % 3 ? 0 : MK_SLOT_IDEMPOTENT;
		memcpy(s[i].bytes, &a, sizeof(a));
	}
	return mk_queue_submit(w->q, s, SLOTS) == (int)SLOTS;
}

/* Take the answers of a round. False: some did not come. */
static bool collect(struct chaos_io *w, struct mk_completion *out)
{
	uint64_t deadline = mk_deadline_after(LAST_WAIT_NS);
	bool seen[SLOTS] = { false };
	unsigned n = 0;

	while (n < SLOTS && mk_time_left(deadline)) {
		struct mk_completion c;
		int r = mk_queue_wait(w->q, 1, 10000000);

		if (r < 1 || mk_queue_reap(w->q, &c, 1) != 1) {
			if (r < 0 && r != -ETIME)
				nap();
			continue;
		}
		if (c.user_data == UINT64_MAX)
			continue; /* of a round that was not */
		if (c.user_data - w->rounds * SLOTS >= SLOTS ||
		    seen[c.user_data % SLOTS]) {
			w->tally.twice++;
			chaos_complain(w->chaos, "io: a second answer, %s",
				       mk_code_name(c.result));
			continue;
		}
		seen[c.user_data % SLOTS] = true;
		out[c.user_data % SLOTS] = c;
		n++;
	}
	w->tally.lost += SLOTS - n;
	return n == SLOTS;
}

/* One that was taken for hung and asked to end, and yielded then, was
 * cancelled. */
static bool may_end(enum chaos_ending ending)
{
	return ending == CHAOS_END_OK || ending == CHAOS_END_NOT_RUN ||
	       ending == CHAOS_END_MAY_RUN || ending == CHAOS_END_POISON ||
	       ending == CHAOS_END_HUNG || ending == CHAOS_END_CANCELLED;
}

static void check_slot(struct chaos_io *w, uint32_t i,
		       const struct mk_completion *c,
		       const unsigned char *found)
{
	enum chaos_ending ending = chaos_ending_of(c->result);
	bool again = (w->random >> i) % 3 == 0, is_new;
	unsigned char want[PIECE];
	uint64_t ran = 0, sum = model(w, i, w->salt[i], want);

	mk_queue_observe(w->q, i, &ran);
	w->tally.ending[ending]++;
	is_new = !memcmp(found, want, PIECE);
	if (ran > 1 && !again) {
		w->tally.twice++;
		chaos_complain(w->chaos, "io: slot %u ran %llu times", i,
			       (unsigned long long)ran);
	} else if (!may_end(ending)) {
		wrong(w, i, c->result, "nothing like that was asked for");
	} else if (ending == CHAOS_END_OK && !ran) {
		wrong(w, i, c->result, "it did not run");
	} else if (ending == CHAOS_END_OK && c->value != sum) {
		wrong(w, i, c->result, "its value is another");
	} else if (ending == CHAOS_END_OK && !is_new) {
		wrong(w, i, c->result, "its piece of the file is another");
	} else if (ending == CHAOS_END_NOT_RUN && ran) {
		wrong(w, i, c->result, "it ran");
	} else if (!is_new && memcmp(found, w->last + (size_t)i * PIECE,
				     PIECE) != 0) {
		wrong(w, i, c->result, "its piece is neither old nor new");
	} else if (ending == CHAOS_END_NOT_RUN && is_new) {
		wrong(w, i, c->result, "its piece was written");
	}
}

static void round_once(struct chaos_io *w)
{
	struct mk_completion c[SLOTS];
	unsigned char *found = w->found;

	w->random = chaos_mix(w->random);
	for (uint32_t i = 0; i < SLOTS; i++) {
		mk_queue_set_observable(w->q, i, 0);
		w->salt[i] = chaos_mix(w->random ^ i << 8);
	}
	if (!submit(w))
		return nap();
	w->tally.submitted += SLOTS;
	if (w->random >> 60 == 0 && !serve_anew(w))
		return;
	if (!collect(w, c) || !await_quiet(w))
		return;
	if (pread(w->fd, found, HALF, (off_t)HALF) != (ssize_t)HALF) {
		wrong(w, 0, -errno, "the file cannot be read");
		return;
	}
	for (uint32_t i = 0; i < SLOTS; i++)
		check_slot(w, i, &c[i], found + (size_t)i * PIECE);
	memcpy(w->last, found, HALF);
	mk_count(&w->rounds, 1);
}

static void *io_main(void *arg)
{
	struct chaos_io *w = arg;

	while (chaos_load_go_on(w->chaos, true) && !w->tally.lost && w->io) {
		if (mk_load_acquire(&w->chaos->phase) == CHAOS_GO)
			round_once(w);
		nap();
	}
	/* so that nobody waits for us to hold still */
	while (chaos_load_go_on(w->chaos, true))
		nap();
	return NULL;
}

/* ---- making it ----------------------------------------------------------- */

int chaos_file(struct chaos *c, const void *bytes, size_t n)
{
	char path[80];
	int fd;

	snprintf(path, sizeof(path), "%s/file.XXXXXX", c->dir);
	fd = mkostemp(path, O_CLOEXEC);
	if (fd >= 0)
		unlink(path);
	if (fd >= 0 && write(fd, bytes, n) == (ssize_t)n)
		return fd;
	cli_error("chaos", "%s: %s", path, strerror(errno));
	if (fd >= 0)
		close(fd);
	return -1;
}

int chaos_io_open(struct chaos *c)
{
	struct mk_queue_params qp = { .size = sizeof(qp), .entries = 2 * SLOTS,
				      .observables = SLOTS,
				      .io_records = RECORDS };
	struct chaos_io *w = &c->load.io;
	struct mk_handler_info info;
	int r;

	w->chaos = c;
	w->random = chaos_mix(c->plan.seed ^ 77);
	for (uint64_t i = 0; i < HALF; i++)
		w->bytes[i] = (unsigned char)chaos_mix(c->plan.seed ^ i << 9);
	w->fd = chaos_file(c, w->bytes, 2 * HALF);
	if (w->fd < 0)
		return -1;
	r = mk_module_load_source(c->load.ctx, "io.c", chaos_io_source, 0,
				  NULL);
	if (r >= 0)
		r = mk_handler_find(c->load.ctx, "chaos_copy", &info);
	if (r >= 0)
		r = mk_queue_create(c->load.ctx, &qp, &w->q);
	/* whatever becomes of a device, what is under way goes there */
	if (r >= 0)
		r = mk_buffer_create(c->load.ctx, 2 * HALF, MK_BUFFER_HOST,
				     &w->buffer);
	if (r < 0)
		return cli_library_error("chaos", "io", r), -1;
	w->opcode = info.opcode;
	return serve(w) ? 0 : -1;
}

int chaos_io_start(struct chaos *c)
{
	struct chaos_io *w = &c->load.io;

	mk_add_relaxed(&c->threads, 1);
	w->started = !pthread_create(&w->thread, NULL, io_main, w);
	if (w->started)
		return 0;
	mk_sub_seq(&c->threads, 1);
	cli_error("chaos", "cannot start a thread");
	return -1;
}

void chaos_io_stop(struct chaos *c)
{
	struct chaos_io *w = &c->load.io;

	if (w->started)
		pthread_join(w->thread, NULL);
	if (w->started && mk_io_destroy(w->io, LAST_WAIT_NS)) {
		w->tally.wrong++;
		chaos_complain(c, "io: the service does not end");
	}
	w->started = false;
	if (w->fd > 0)
		close(w->fd);
	w->fd = -1;
}
