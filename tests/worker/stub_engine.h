/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An engine that does nothing but note how it was called, in the shared
 * memory, where the other process can read it; and that dies, waits or fails
 * when module_close() names an id that says so. For the tests of this folder.
 */
#ifndef STUB_ENGINE_H
#define STUB_ENGINE_H

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/order.h"
#include "engine/engine.h"
#include "worker/message.h"

#define STUB_SHARED 65536u
#define STUB_TOTAL (2u * STUB_SHARED)
#define STUB_WINDOWS 16u
#define STUB_BLOCK 16384u /* a queue block, behind the worker's */
#define STUB_FOREIGN_FD 200 /* open in the caller, not close-on-exec */

/* Ids for module_close(). */
enum stub_order {
	STUB_OK = 1,
	STUB_WORDS,   /* fails with words */
	STUB_SILENT,  /* fails without */
	STUB_WAIT,    /* until record->release */
	STUB_HANG,
	STUB_SIGKILL,
	STUB_SIGSEGV,
	STUB_EXIT     /* with status 7 */
};

/* At shared_bytes of the region. */
struct stub_record {
	uint32_t entered; /* calls begun; store-release */
	uint32_t release; /* the test: store-release; STUB_WAIT waits for it */
	uint32_t op;      /* of the last call */
	uint32_t started;
	struct mk_engine_config config;
	struct mk_message_target target;
	struct mk_queue_desc queue;
	struct mk_buffer_desc buffer;
	struct mk_message_copy copy;
	struct mk_opcode_map map[2];
	uint32_t count;
	int32_t fd;          /* its st_ino says which */
	uint64_t fd_inode;
	uint32_t foreign_fd; /* STUB_FOREIGN_FD is open here */
	uint32_t blocked;    /* SIGTERM is blocked here */
	uint32_t ignored;    /* SIGINT is ignored here */
};

struct mk_engine {
	struct stub_record *record;
};

static struct mk_engine stub_engine;

/* ---- the region ------------------------------------------------------- */

static inline void stub_config(struct mk_engine_config *c)
{
	*c = (struct mk_engine_config){
		.workers = 2,
		.windows = STUB_WINDOWS,
		.made_entries = MK_MADE_ENTRIES,
		.scratch_bytes = 4096,
		.idle_ns = 1000,
		.shared_bytes = STUB_SHARED,
		.total_bytes = STUB_TOTAL,
	};
}

static inline void stub_block(struct mk_context_block *b)
{
	memset(b, 0, sizeof(*b));
	b->header.magic = MK_MAGIC_CONTEXT;
	b->header.abi = MK_ABI_VERSION;
	b->header.fingerprint = MK_FINGERPRINT;
	b->header.bytes = sizeof(*b);
	b->total_bytes = STUB_TOTAL;
	b->shared_bytes = STUB_SHARED;
	b->workers = 2;
	b->workers_offset = sizeof(*b);
}

static inline void stub_region(struct mk_region *r, uint64_t bytes, int seals)
{
	r->fd = memfd_create("stub", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (r->fd < 0 || ftruncate(r->fd, (off_t)bytes) ||
	    fcntl(r->fd, F_ADD_SEALS, seals))
		abort();
	r->base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd,
		       0);
	if (r->base == MAP_FAILED)
		abort();
	r->shared_bytes = STUB_SHARED;
	r->total_bytes = bytes;
	stub_block((struct mk_context_block *)r->base);
}

#define STUB_SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

static inline void stub_region_free(struct mk_region *r)
{
	munmap(r->base, r->total_bytes);
	close(r->fd);
}

static inline struct stub_record *stub_record(const struct mk_region *r)
{
	return (struct stub_record *)(void *)(r->base + STUB_SHARED);
}

/* A queue that is all right: 8 entries, 4 observables, 4 and 2 records. */
static inline void stub_queue(struct mk_queue_desc *q)
{
	*q = (struct mk_queue_desc){
		.index = 3,
		.priority = MK_PRIORITY_NORMAL,
		.block_offset = STUB_BLOCK,
		.block_bytes = 320 + 512 + 128 + 512 + 2752 + 192 + 192,
		.entries = 8,
		.slots_offset = 320,
		.completions_offset = 832,
		.ext_offset = 960,
		.control_offset = 1472,
		.log_offset = 4224,
		.io_offset = 4416,
		.observables = 4,
		.log_records = 4,
		.io_records = 2,
		.first_ticket = UINT64_MAX - 3,
		.skip_until = 2,
	};
}

static inline void stub_buffer(struct mk_buffer_desc *b)
{
	*b = (struct mk_buffer_desc){
		.index = 5,
		.generation = 1,
		.offset = STUB_SHARED + 4096,
		.bytes = 4096,
		.flags = MK_BUFFER_READ_ONLY,
	};
}

/* ---- the table -------------------------------------------------------- */

static inline void stub_note(struct mk_engine *e, uint32_t op)
{
	e->record->op = op;
	/* pairs with the test's load-acquire */
	mk_store_release(&e->record->entered, e->record->entered + 1);
}

static inline void stub_note_fd(struct mk_engine *e, int fd)
{
	struct stat st = { 0 };

	e->record->fd = fd;
	e->record->fd_inode = fd >= 0 && !fstat(fd, &st) ? st.st_ino : 0;
}

static int stub_open(const struct mk_engine_config *c,
		     const struct mk_region *region, struct mk_engine **out)
{
	struct stub_record *r = stub_record(region);
	struct sigaction sa;
	sigset_t mask;

	if (c->device)
		return mk_error_set(-MK_EENGINE, 42, "stub",
				    "device is %u, there is only 0",
				    c->device);
	stub_engine.record = r;
	r->config = *c;
	r->foreign_fd = fcntl(STUB_FOREIGN_FD, F_GETFD) >= 0;
	sigprocmask(SIG_BLOCK, NULL, &mask);
	r->blocked = (uint32_t)sigismember(&mask, SIGTERM);
	sigaction(SIGINT, NULL, &sa);
	r->ignored = sa.sa_handler == SIG_IGN;
	*out = &stub_engine;
	return 0;
}

static int stub_start(struct mk_engine *e)
{
	e->record->started = 1;
	return 0;
}

static int stub_close(struct mk_engine *e, uint64_t timeout_ns)
{
	e->record->target.timeout_ns = timeout_ns;
	stub_note(e, MK_MESSAGE_CLOSE);
	return 0;
}

static int stub_queue_attach(struct mk_engine *e,
			     const struct mk_queue_desc *q, int event_fd)
{
	e->record->queue = *q;
	stub_note_fd(e, event_fd);
	stub_note(e, MK_MESSAGE_QUEUE_ATTACH);
	return 0;
}

static int stub_target(struct mk_engine *e, uint32_t op, uint32_t index,
		       uint64_t timeout_ns)
{
	e->record->target.index = index;
	e->record->target.timeout_ns = timeout_ns;
	stub_note(e, op);
	return 0;
}

static int stub_queue_detach(struct mk_engine *e, uint32_t index, uint64_t ns)
{
	return stub_target(e, MK_MESSAGE_QUEUE_DETACH, index, ns);
}

static int stub_queue_event_fd(struct mk_engine *e, uint32_t index, int fd)
{
	stub_note_fd(e, fd);
	return stub_target(e, MK_MESSAGE_QUEUE_EVENT_FD, index, 0);
}

static int stub_buffer_attach(struct mk_engine *e,
			      const struct mk_buffer_desc *b)
{
	e->record->buffer = *b;
	stub_note(e, MK_MESSAGE_BUFFER_ATTACH);
	return 0;
}

static int stub_buffer_detach(struct mk_engine *e, uint32_t index, uint64_t ns)
{
	return stub_target(e, MK_MESSAGE_BUFFER_DETACH, index, ns);
}

static int stub_buffer_copy(struct mk_engine *e, uint32_t index,
			    uint64_t offset, uint64_t staging, uint64_t bytes,
			    uint32_t flags)
{
	e->record->copy = (struct mk_message_copy){
		.index = index, .flags = flags, .offset = offset,
		.staging = staging, .bytes = bytes,
	};
	stub_note(e, MK_MESSAGE_BUFFER_COPY);
	return 0;
}

/* As many handlers as the id says, h0 and so on. */
static int stub_module_open(struct mk_engine *e,
			    const struct mk_module_desc *m,
			    struct mk_handler_info *out, unsigned max,
			    unsigned *count)
{
	unsigned n = m->id < max ? m->id : max;

	for (unsigned i = 0; i < n; i++) {
		out[i] = (struct mk_handler_info){ .arg_bytes = 48,
						   .width = MK_WIDTH_WARP };
		snprintf(out[i].name, sizeof(out[i].name), "h%u", i);
	}
	*count = n;
	stub_note_fd(e, m->fd);
	return stub_target(e, MK_MESSAGE_MODULE_OPEN, m->id, 0);
}

static int stub_module_bind(struct mk_engine *e, uint32_t id,
			    const struct mk_opcode_map *map, unsigned count)
{
	e->record->count = count;
	if (count) {
		e->record->map[0] = map[0];
		e->record->map[1] = map[count - 1];
	}
	return stub_target(e, MK_MESSAGE_MODULE_BIND, id, 0);
}

static void stub_wait(const struct stub_record *r)
{
	/* pairs with the test's store-release */
	while (!mk_load_acquire(&r->release))
		usleep(1000);
}

static int stub_module_close(struct mk_engine *e, uint32_t id, uint64_t ns)
{
	stub_target(e, MK_MESSAGE_MODULE_CLOSE, id, ns);
	switch (id) {
	case STUB_WORDS:
		return mk_error_set(-MK_ECLASH, 17, "stub_words",
				    "the words of the stub");
	case STUB_SILENT:
		return -MK_ENOHANDLER;
	case STUB_WAIT:
		stub_wait(e->record);
		return 0;
	case STUB_HANG:
		for (;;)
			pause();
	case STUB_SIGKILL:
		raise(SIGKILL);
		return 0;
	case STUB_SIGSEGV: /* a sanitizer would make an exit of it */
		signal(SIGSEGV, SIG_DFL);
		raise(SIGSEGV);
		return 0;
	case STUB_EXIT:
		_exit(7);
	default:
		return 0;
	}
}

static int stub_pause(struct mk_engine *e, uint64_t ns)
{
	return stub_target(e, MK_MESSAGE_PAUSE, 0, ns);
}

static int stub_resume(struct mk_engine *e)
{
	return stub_target(e, MK_MESSAGE_RESUME, 0, 0);
}

static const struct mk_engine_ops stub_ops = {
	.name = "stub",
	.traits = MK_TRAIT_HOST_MEMORY,
	.open = stub_open,
	.start = stub_start,
	.close = stub_close,
	.queue_attach = stub_queue_attach,
	.queue_detach = stub_queue_detach,
	.queue_event_fd = stub_queue_event_fd,
	.buffer_attach = stub_buffer_attach,
	.buffer_detach = stub_buffer_detach,
	.buffer_copy = stub_buffer_copy,
	.module_open = stub_module_open,
	.module_bind = stub_module_bind,
	.module_close = stub_module_close,
	.pause = stub_pause,
	.resume = stub_resume,
};

static inline const struct mk_engine_ops *stub_find(const char *name)
{
	return name && !strcmp(name, "stub") ? &stub_ops : NULL;
}

#endif
