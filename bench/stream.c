/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bin/megakernel-bench-stream: how fast files come through a stream, beside
 * what the machine can do without one.
 *
 *	megakernel-bench-stream [-e ENGINE] [-m MIB] [-d DIR] [-r RUNS]
 *		[-w FILE | -l FILE]
 *
 * One file of MIB (512) is written to DIR (/tmp), so that it is in the page
 * cache, and read RUNS (5) times in each way; the best, the median and the
 * worst are printed. Rows:
 *
 *	plain      io_uring, 8 reads of 1 MiB under way, into memory of this
 *	           process: copied by the reading thread, or by two and eight
 *	           threads of the kernel
 *	pinned     (cuda) copies by the device from pinned memory to its own
 *	stream     through mk_stream into a handler; on a GPU it reads every
 *	           byte, on a CPU one of every page: there the copy is all
 *
 * -w writes the handler's source, for `megakernel compile`; -l loads what that
 * made of it, for a machine that has no compiler.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <megakernel/stream.h>

#if defined(MK_WITH_URING)
#include <liburing.h>
#endif

#define RUNS_MAX 100
#define DEPTH 8u
#define PLAIN_BYTES (1u << 20)
#define PINNED_BYTES (64ull << 20)

struct bench {
	const char *engine, *dir, *module;
	uint64_t bytes;
	unsigned runs;
	int fd;
	struct mk_ctx *ctx;
	double plain; /* the best median of the rows to compare with */
};

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Print a row; its median. */
static double print_row(const struct bench *b, const char *name,
			double *rate, bool compare)
{
	double median;

	qsort(rate, b->runs, sizeof(*rate), by_size);
	median = rate[b->runs / 2];
	printf("%-34s %8.2f %8.2f %8.2f", name, rate[b->runs - 1], median,
	       rate[0]);
	if (compare && b->plain > 0)
		printf(" %7.1f %%", 100 * median / b->plain);
	printf("\n");
	fflush(stdout);
	return median;
}

static int wrong(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, mk_error_last()->text);
	return -1;
}

/* ---- without a stream --------------------------------------------------- */

#if defined(MK_WITH_URING)
static int plain_start(struct bench *b, struct io_uring *u,
		       unsigned char *memory, uint64_t at, unsigned slot,
		       bool aside)
{
	uint64_t left = b->bytes - at;
	struct io_uring_sqe *sqe = io_uring_get_sqe(u);

	io_uring_prep_read(sqe, b->fd, memory + (size_t)slot * PLAIN_BYTES,
			   left < PLAIN_BYTES ? (unsigned)left : PLAIN_BYTES,
			   at);
	if (aside)
		sqe->flags |= IOSQE_ASYNC;
	sqe->user_data = slot;
	return io_uring_submit(u);
}

static double plain_once(struct bench *b, struct io_uring *u,
			 unsigned char *memory, bool aside)
{
	double start = now();
	uint64_t at = 0, done = 0;
	unsigned idle = DEPTH;

	for (unsigned i = 0; i < DEPTH && at < b->bytes; i++, idle--) {
		plain_start(b, u, memory, at, i, aside);
		at += PLAIN_BYTES;
	}
	while (idle < DEPTH) {
		struct io_uring_cqe *cqe;
		unsigned slot;

		if (io_uring_wait_cqe(u, &cqe) || cqe->res <= 0)
			return -1;
		done += (unsigned)cqe->res;
		slot = (unsigned)cqe->user_data;
		io_uring_cqe_seen(u, cqe);
		if (at < b->bytes) {
			plain_start(b, u, memory, at, slot, aside);
			at += PLAIN_BYTES;
		} else {
			idle++;
		}
	}
	return done == b->bytes ? (double)done / (now() - start) * 1e-9 : -1;
}

static void plain(struct bench *b, unsigned threads)
{
	unsigned workers[2] = { threads, 0 };
	double rate[RUNS_MAX], median;
	unsigned char *memory;
	struct io_uring u;
	char name[64];

	memory = mmap(NULL, DEPTH * PLAIN_BYTES, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (memory == MAP_FAILED || io_uring_queue_init(64, &u, 0)) {
		printf("no io_uring here: no row `plain`\n");
		return;
	}
	io_uring_register_iowq_max_workers(&u, workers);
	plain_once(b, &u, memory, threads > 1);
	for (unsigned i = 0; i < b->runs; i++)
		rate[i] = plain_once(b, &u, memory, threads > 1);
	snprintf(name, sizeof(name), "plain io_uring, %u at once", threads);
	median = print_row(b, name, rate, false);
	if (median > b->plain && strcmp(b->engine, "cuda") != 0)
		b->plain = median;
	io_uring_queue_exit(&u);
	munmap(memory, DEPTH * PLAIN_BYTES);
}
#else
static void plain(struct bench *b, unsigned threads)
{
	(void)b;
	(void)threads;
}
#endif

/* The device's own copies, from memory that is pinned. */
static int pinned(struct bench *b)
{
	double rate[RUNS_MAX], start;
	mk_buffer_t host, device;

	if (mk_buffer_create(b->ctx, PINNED_BYTES, MK_BUFFER_HOST, &host) ||
	    mk_buffer_create(b->ctx, PINNED_BYTES, 0, &device))
		return wrong("mk_buffer_create");
	for (unsigned i = 0; i <= b->runs; i++) {
		start = now();
		for (unsigned k = 0; k < 8; k++)
			if (mk_buffer_copy(b->ctx, device, 0, host, 0,
					   PINNED_BYTES))
				return wrong("mk_buffer_copy");
		if (i)
			rate[i - 1] = 8e-9 * (double)PINNED_BYTES /
				      (now() - start);
	}
	b->plain = print_row(b, "pinned copy", rate, false);
	mk_buffer_destroy(b->ctx, host, MK_FOREVER);
	mk_buffer_destroy(b->ctx, device, MK_FOREVER);
	return 0;
}

/* ---- with one ----------------------------------------------------------- */

static const char touch[] =
	"#include <megakernel/chunk.h>\n"
	"struct quad { uint64_t a, b; };\n"
	"MK_HANDLER(touch, struct mk_stream_args)\n"
	"{\n"
	"	const struct mk_stream_piece *p = mk_stream_pieces(task, args);\n"
	"	uint64_t sum = 0;\n"
	"	if (!p)\n"
	"		return mk_fail(task);\n"
	"	for (uint32_t i = 0; i < args->pieces; i++) {\n"
	"		const unsigned char *d = mk_stream_data(task, args, p + i);\n"
	"		uint32_t n = p[i].bytes / 16;\n"
	"		const struct quad *q = (const struct quad *)\n"
	"			(const void *)d;\n"
	"		if (!d)\n"
	"			return mk_fail(task);\n"
	"#if MK_CUDA\n"
	"		uint32_t k = mk_lane(task);\n"
	"		const ulonglong2 *v = (const ulonglong2 *)q;\n"
	"		for (; k + 15 * mk_lanes(task) < n;\n"
	"		     k += 16 * mk_lanes(task)) {\n"
	"			ulonglong2 r[16];\n"
	"#pragma unroll\n"
	"			for (int j = 0; j < 16; j++)\n"
	"				r[j] = __ldcs(v + k + j * mk_lanes(task));\n"
	"#pragma unroll\n"
	"			for (int j = 0; j < 16; j++)\n"
	"				sum += r[j].x + r[j].y;\n"
	"		}\n"
	"		for (; k < n; k += mk_lanes(task))\n"
	"			sum += v[k].x + v[k].y;\n"
	"#else\n"
	"		for (uint32_t k = 0; k < n; k += 256)\n"
	"			sum += q[k].a;\n"
	"#endif\n"
	"	}\n"
	"	mk_value(task, sum);\n"
	"	return (int32_t)(sum == 1);\n"
	"}\n";

static int stream_once(struct bench *b, const struct mk_stream_params *p,
		       double *rate, struct mk_stream_stats *stats)
{
	struct mk_stream_chunk c;
	struct mk_stream *s;
	uint64_t bytes = 0;
	double start;
	int r;

	if (lseek(b->fd, 0, SEEK_SET) || mk_stream_create(b->ctx, p, &s))
		return wrong("mk_stream_create");
	start = now();
	mk_stream_add_fd(s, b->fd, 0);
	mk_stream_end(s);
	while ((r = mk_stream_next(s, &c, 30000000000ull)) > 0) {
		bytes += c.piece[0].bytes;
		mk_stream_release(s, &c);
	}
	*rate = (double)bytes / (now() - start) * 1e-9;
	mk_stream_stats(s, stats);
	if (r || bytes != b->bytes || stats->chunks_failed)
		return wrong("mk_stream_next");
	return mk_stream_destroy(s, MK_FOREVER);
}

static int stream(struct bench *b, uint32_t chunks, uint32_t chunk_bytes,
		  uint32_t readers, uint32_t flags)
{
	struct mk_stream_params p = { .size = sizeof(p), .handler = "touch",
				      .chunks = chunks, .flags = flags,
				      .chunk_bytes = chunk_bytes,
				      .readers = readers };
	struct mk_stream_stats stats = { 0 };
	double rate[RUNS_MAX];
	char name[64];

	for (unsigned i = 0; i <= b->runs; i++)
		if (stream_once(b, &p, &rate[i ? i - 1 : 0], &stats))
			return -1;
	snprintf(name, sizeof(name), "stream %u x %u KiB, %u%s%s%s", chunks,
		 chunk_bytes >> 10, readers ? readers : 8,
		 flags & MK_STREAM_CALLER ? ", caller" : "",
		 flags & MK_STREAM_DEVICE ? ", device" : "",
		 flags & MK_STREAM_DIRECT ? ", direct" : "");
	print_row(b, name, rate, true);
	printf("    held by handler %llu, by caller %llu\n",
	       (unsigned long long)stats.held_by_handler,
	       (unsigned long long)stats.held_by_caller);
	return 0;
}

static int rows_cpu(struct bench *b)
{
	static const struct {
		uint32_t chunks, bytes, readers, flags;
	} row[] = {
		{ 8, 1u << 20, 1, 0 },
		{ 8, 1u << 20, 1, MK_STREAM_CALLER },
		{ 16, 256u << 10, 1, 0 },
		{ 16, 256u << 10, 1, MK_STREAM_CALLER },
		{ 8, 1u << 20, 2, 0 },
		{ 8, 1u << 20, 2, MK_STREAM_CALLER },
		{ 16, 256u << 10, 2, 0 },
	};

	for (unsigned i = 0; i < sizeof(row) / sizeof(row[0]); i++)
		if (stream(b, row[i].chunks, row[i].bytes, row[i].readers,
			   row[i].flags))
			return -1;
	return 0;
}

static int rows_cuda(struct bench *b)
{
	static const struct {
		uint32_t chunks, bytes, readers, flags;
	} row[] = {
		{ 128, 256u << 10, 0, 0 }, /* the default */
		{ 128, 256u << 10, 14, 0 },
		{ 256, 256u << 10, 8, 0 },
		{ 256, 256u << 10, 14, 0 },
		{ 256, 128u << 10, 14, 0 },
		{ 64, 1u << 20, 8, 0 },
		{ 64, 256u << 10, 14, 0 },
		{ 32, 4u << 20, 14, MK_STREAM_DEVICE },
	};

	if (pinned(b))
		return -1;
	for (unsigned i = 0; i < sizeof(row) / sizeof(row[0]); i++)
		if (stream(b, row[i].chunks, row[i].bytes, row[i].readers,
			   row[i].flags))
			return -1;
	return 0;
}

/* ---- the file, and the rest --------------------------------------------- */

static int make_file(struct bench *b)
{
	static unsigned char block[1 << 20];
	char path[4096];

	for (size_t i = 0; i < sizeof(block); i++)
		block[i] = (unsigned char)(i * 2654435761u >> 13);
	snprintf(path, sizeof(path), "%s/mk-bench-XXXXXX", b->dir);
	b->fd = mkstemp(path);
	if (b->fd < 0) {
		perror(path);
		return -1;
	}
	unlink(path);
	for (uint64_t at = 0; at < b->bytes; at += sizeof(block))
		if (write(b->fd, block, sizeof(block)) !=
		    (ssize_t)sizeof(block)) {
			perror(path);
			return -1;
		}
	return 0;
}

static int write_source(const char *path)
{
	FILE *f = fopen(path, "w");

	if (!f || fputs(touch, f) == EOF || fclose(f)) {
		perror(path);
		return 1;
	}
	return 0;
}

static int load(struct bench *b)
{
	return b->module ? mk_module_load(b->ctx, b->module, 0, NULL) :
			   mk_module_load_source(b->ctx, "touch.c", touch, 0,
						 NULL);
}

static int options(struct bench *b, int argc, char **argv)
{
	int c;

	while ((c = getopt(argc, argv, "e:m:d:r:l:w:")) != -1) {
		if (c == 'e')
			b->engine = optarg;
		else if (c == 'm')
			b->bytes = strtoull(optarg, NULL, 10) << 20;
		else if (c == 'd')
			b->dir = optarg;
		else if (c == 'l')
			b->module = optarg;
		else if (c == 'w')
			exit(write_source(optarg));
		else if (c == 'r')
			b->runs = (unsigned)strtoul(optarg, NULL, 10);
		else
			return -1;
	}
	return b->bytes && b->runs && b->runs <= RUNS_MAX && optind == argc ?
		       0 : -1;
}

int main(int argc, char **argv)
{
	struct bench b = { .engine = "cpu", .dir = "/tmp",
			   .bytes = 512ull << 20, .runs = 5 };
	struct mk_ctx_params p = { .size = sizeof(p),
				   .shared_bytes = 512ull << 20 };
	int r;

	if (options(&b, argc, argv)) {
		fprintf(stderr, "usage: %s [-e ENGINE] [-m MIB] [-d DIR] "
				"[-r RUNS] [-w FILE | -l FILE]\n", argv[0]);
		return 2;
	}
	p.engine = b.engine;
	if (make_file(&b))
		return 1;
	printf("%llu MiB from the page cache, GB/s of %u runs\n",
	       (unsigned long long)(b.bytes >> 20), b.runs);
	printf("%-34s %8s %8s %8s\n", "", "best", "median", "worst");
	plain(&b, 1);
	plain(&b, 2);
	plain(&b, 8);
	if (mk_ctx_create(&p, &b.ctx) || load(&b)) {
		wrong(b.engine);
		return 1;
	}
	r = strcmp(b.engine, "cuda") ? rows_cpu(&b) : rows_cuda(&b);
	mk_ctx_destroy(b.ctx, MK_FOREVER);
	close(b.fd);
	return r ? 1 : 0;
}
