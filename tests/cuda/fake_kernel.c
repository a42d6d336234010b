/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A part of fake_cuda.c, which includes it: the kernel, which is a thread, its
 * launch, and the modules that it comes from.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Somebody else's: it has run when it is launched. */
#define FAKE_OTHER_KERNEL ((CUfunction)(uintptr_t)0x77)

/* The kernel's stream is the only one with anything on it. */
static CUstream kernel_stream;

static CUresult cuStreamQuery(CUstream s)
{
	CALL;
	if (s != kernel_stream)
		return fake_copies_query();
	if (fake_resident())
		return MKC_NOT_READY;
	if (fake_run.started) {
		pthread_join(fake_run.thread, NULL);
		mk_store_release(&fake_run.started, 0);
	}
	return 0;
}

/* A slot runs: hold on until the host gives up, or it has ended. */
static bool fake_busy(struct mkd_mail *m, uint32_t seq)
{
	while (mk_load_acquire(&fake.busy)) {
		if (mk_load_acquire(&m->cancel) == seq) {
			mk_store_relaxed((uint32_t *)&m->result, ~0u);
			mk_store_release(&m->ack, seq);
			return true;
		}
		mk_add_relaxed(&m->beat, 1);
		usleep(50);
	}
	return false;
}

/* Does what the monitor of the kernel does, for a kernel without workers. */
static void fake_monitor(const struct mkd_launch *l)
{
	struct mkd_mail *m = (struct mkd_mail *)(uintptr_t)l->mail;
	struct mk_context_block *b = (void *)(uintptr_t)l->region;
	uint32_t last = l->last_seq;
	uint64_t idle = 0;

	if (mk_load_relaxed(&b->state) == MK_ENGINE_STARTING)
		mk_store_release(&b->state, MK_ENGINE_READY);
	for (;;) {
		uint32_t deaf = mk_load_acquire(&fake.deaf);
		uint32_t seq = mk_load_acquire(&m->seq);

		if (mk_load_acquire(&fake_run.dead))
			return;
		if (seq == last || deaf) {
			usleep(50);
			mk_add_relaxed(&m->beat, !deaf);
			idle += 50000;
			if (l->idle_ns == UINT64_MAX || idle < l->idle_ns ||
			    l->hold || deaf)
				continue;
			mk_store_release(&m->reason, MKD_REASON_IDLE);
			return;
		}
		idle = 0;
		last = seq;
		if (mk_load_relaxed(&m->command) == MKD_CMD_HOLD &&
		    fake_busy(m, seq))
			continue;
		if (mk_load_relaxed(&m->command) == MKD_CMD_DETACH)
			mk_store_relaxed(
				&m->low[mk_load_relaxed(&m->index)], 0);
		mk_store_relaxed(&m->result, 0);
		mk_store_release(&m->ack, seq);
		if (mk_load_relaxed(&m->command) == MKD_CMD_LEAVE) {
			mk_store_release(&m->reason, MKD_REASON_ORDER);
			return;
		}
	}
}

static void *kernel_main(void *arg)
{
	(void)arg;
	if (fake_run.emulate)
		fake_run.emulate(&fake_run.launch, fake_run.blocks,
				 fake_run.threads);
	else
		fake_monitor(&fake_run.launch);
	mk_store_release(&fake_run.ended, 1);
	return NULL;
}

static CUresult cuLaunchKernel(CUfunction f, unsigned gx, unsigned gy,
			       unsigned gz, unsigned bx, unsigned by,
			       unsigned bz, unsigned shared, CUstream s,
			       void **args, void **extra)
{
	struct fake_module *m = (struct fake_module *)f;

	(void)shared, (void)extra;
	CALL;
	if (f == FAKE_OTHER_KERNEL)
		return 0;
	if (gy != 1 || gz != 1 || by != 1 || bz != 1 || fake_resident())
		return 1;
	if (fake_run.started)
		pthread_join(fake_run.thread, NULL);
	mk_add_relaxed(&fake.launches, 1);
	fake.grid = gx;
	fake.block = bx;
	fake_run.launch = *(struct mkd_launch *)args[0];
	fake_run.blocks = gx;
	fake_run.threads = bx;
	fake_run.emulate = NULL;
	fake_run.die = NULL;
	if (m->library) {
		void *entry = dlsym(m->library, "mkd_emulate");

		memcpy(&fake_run.emulate, &entry, sizeof(entry));
		fake_run.die = dlsym(m->library, "mkd_emulate_die");
	}
	mk_store_release(&fake_run.ended, 0);
	kernel_stream = s;
	if (pthread_create(&fake_run.thread, NULL, kernel_main, NULL)) {
		mk_store_release(&fake_run.started, 0);
		return MKC_OUT_OF_MEMORY;
	}
	mk_store_release(&fake_run.started, 1);
	return 0;
}

static CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks,
							    CUfunction f,
							    int threads,
							    size_t shared)
{
	(void)f, (void)threads, (void)shared;
	CALL;
	*blocks = fake.blocks_each;
	return 0;
}

static CUresult cuFuncSetAttribute(CUfunction f, int which, int value)
{
	(void)f, (void)which, (void)value;
	CALL;
	return 0;
}

static CUresult cuFuncGetAttribute(int *value, int which, CUfunction f)
{
	(void)which, (void)f;
	CALL;
	*value = 42;
	return 0;
}

/* ---- modules ------------------------------------------------------------- */

void *__real_dlopen(const char *name, int flags);
void *__real_dlsym(void *library, const char *name);

/* An image is "MONITOR <handlers>", or a shared object. */
static CUresult load_emulated(struct fake_module *m, const void *image)
{
	const uint64_t *bytes = (const uint64_t *)image;
	char path[] = "/tmp/mk-fake-XXXXXX";
	int fd = mkstemp(path);
	ssize_t n;
	void *info;

	if (fd < 0)
		return 1;
	n = write(fd, (const char *)image + 16, bytes[1]);
	close(fd);
	m->library = n == (ssize_t)bytes[1] ?
			     __real_dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
	if (!m->library)
		fprintf(stderr, "fake driver: %s\n", dlerror());
	unlink(path);
	if (!m->library)
		return MKC_NO_BINARY_FOR_GPU;
	info = __real_dlsym(m->library, "mkd_info");
	m->info = info;
	m->info_bytes = *(size_t *)__real_dlsym(m->library, "mkd_info_bytes");
	return 0;
}

static CUresult cuModuleLoadDataEx(CUmodule *out, const void *image,
				   unsigned n, int *options, void **values)
{
	struct fake_module *m;
	unsigned handlers;
	CUresult r = 0;

	(void)n, (void)options, (void)values;
	would_wait(__func__);
	CALL;
	m = calloc(1, sizeof(*m));
	if (!memcmp(image, "EMULATE", 8)) {
		r = load_emulated(m, image);
	} else if (sscanf(image, "MONITOR %u", &handlers) == 1) {
		m->info_bytes = handlers * 8u;
		m->info = calloc(handlers, 8);
		for (unsigned i = 0; i < handlers; i++) {
			m->info[2 * i] = 8;
			m->info[2 * i + 1] = MK_WIDTH_WARP;
		}
	} else {
		r = MKC_NO_BINARY_FOR_GPU;
	}
	if (r) {
		free(m);
		return r;
	}
	*out = (CUmodule)m;
	fake.modules++;
	return 0;
}

static CUresult cuModuleUnload(CUmodule module)
{
	struct fake_module *m = (struct fake_module *)module;

	would_wait(__func__);
	if (m->library)
		dlclose(m->library);
	else
		free(m->info);
	free(m);
	fake.modules--;
	return 0;
}

static CUresult cuModuleGetFunction(CUfunction *f, CUmodule module,
				    const char *name)
{
	CALL;
	if (!strncmp(name, "neighbour_", 10)) {
		*f = FAKE_OTHER_KERNEL;
		return 0;
	}
	if (strcmp(name, "mkd_kernel") != 0)
		return 500;
	*f = (CUfunction)module;
	return 0;
}

static CUresult cuModuleGetGlobal_v2(CUdeviceptr *at, size_t *bytes,
				     CUmodule module, const char *name)
{
	struct fake_module *m = (struct fake_module *)module;

	CALL;
	if (strcmp(name, "mkd_info") != 0)
		return 500;
	*at = (uintptr_t)m->info;
	*bytes = m->info_bytes;
	return 0;
}
