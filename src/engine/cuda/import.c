/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Device memory that is not ours: the caller's pointer, asked of the driver
 * before it is believed, and handles of another process, mapped. Mapping and
 * unmapping may wait for every kernel of the context, so both are done with
 * ours off the device.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "engine/cuda/host.h"

#define ASIDE_NS 30000000000ull /* for the slots that run */

/* ---- pointers ------------------------------------------------------------ */

#define refuse(code, native, ...) \
	mk_error_set((code), (native), "mk_buffer_import", __VA_ARGS__)

/* Nothing was wrong with the parameters. */
static int failed(struct mk_engine *e, CUresult result, const char *what)
{
	return mkc_is_loss(result) ? mkc_lost(e, result, what) :
				     mkc_fail(e->d, result, "mk_buffer_import",
					      what);
}

/* One attribute of a pointer; `value` is left alone if there is none. */
static CUresult ask(struct mk_engine *e, CUdeviceptr at, int which,
		    void *value)
{
	return e->d->pointer_attribute(value, which, at);
}

static int check_kind(struct mk_engine *e, CUdeviceptr at)
{
	unsigned type = 0, managed = 0;
	CUresult r = ask(e, at, MKC_POINTER_MEMORY_TYPE, &type);

	if (r && r != MKC_INVALID_VALUE)
		return failed(e, r, "asking what params.address is");
	if (r || type != MKC_MEMORY_DEVICE)
		return refuse(-EFAULT, r,
			      "params.address 0x%llx is not device memory "
			      "(kind %u; the driver knows it: %s)", at, type,
			      r ? "no" : "yes");
	if (!ask(e, at, MKC_POINTER_MANAGED, &managed) && managed)
		return refuse(-EINVAL, 0,
			      "params.address 0x%llx is managed memory, which "
			      "moves between host and device; import device "
			      "memory", at);
	return 0;
}

static int check_place(struct mk_engine *e, CUdeviceptr at)
{
	CUcontext ctx = NULL;
	int ordinal = -1;
	CUdevice device;
	CUresult r = ask(e, at, MKC_POINTER_ORDINAL, &ordinal);

	if (!r)
		r = e->d->device_get(&device, ordinal);
	if (r)
		return failed(e, r, "asking what device params.address is of");
	if (device != e->device)
		return refuse(-EXDEV, 0,
			      "params.address 0x%llx is memory of device %d, "
			      "the context is on device %u", at, ordinal,
			      e->config.device);
	/* memory of a pool belongs to no context: every one may use it */
	if (!ask(e, at, MKC_POINTER_CONTEXT, &ctx) && ctx && ctx != e->ctx)
		return refuse(-MK_EFOREIGN, 0,
			      "params.address 0x%llx was allocated in another "
			      "context of device %u; make this one with "
			      "mk_ctx_params.native_context", at,
			      e->config.device);
	return 0;
}

/* The allocation around `at` has to hold all bytes from there. */
static int check_range(struct mk_engine *e, CUdeviceptr at, uint64_t bytes)
{
	CUdeviceptr base = 0;
	size_t whole = 0;
	CUresult r = e->d->address_range(&base, &whole, at);

	if (r)
		return failed(e, r, "asking for the allocation around the "
				    "address");
	if (at >= base && at - base <= whole && bytes <= whole - (at - base))
		return 0;
	return refuse(-MK_ERANGE, 0,
		      "params.bytes is %llu, but the allocation of %zu bytes "
		      "has %llu from there on", (unsigned long long)bytes,
		      whole, (unsigned long long)(base + whole - at));
}

int mkc_import_pointer(struct mk_engine *e, CUdeviceptr at, uint64_t bytes)
{
	int r = check_kind(e, at);

	if (!r)
		r = check_place(e, at);
	return r ? r : check_range(e, at, bytes);
}

/* ---- handles of other processes ------------------------------------------ */

static struct mkc_map *map_find(struct mk_engine *e,
				const unsigned char *handle)
{
	struct mkc_map *m = e->maps;

	while (m && memcmp(m->handle, handle, sizeof(m->handle)) != 0)
		m = m->next;
	return m;
}

/* NULL: why not is recorded. */
static struct mkc_map *map_new(struct mk_engine *e,
			       const unsigned char *handle)
{
	struct mkc_map *m = calloc(1, sizeof(*m));
	struct mkc_ipc_handle h;
	CUresult r;

	if (!m) {
		mk_error_set(-ENOMEM, ENOMEM, "cuda engine",
			     "no memory for the list of mappings");
		return NULL;
	}
	memcpy(m->handle, handle, sizeof(m->handle));
	memcpy(h.bytes, handle, sizeof(h.bytes));
	if (mkc_step_aside(e, ASIDE_NS)) {
		free(m);
		return NULL;
	}
	r = e->d->ipc_open(&m->base, h, MKC_IPC_LAZY_PEER);
	if (r) {
		free(m);
		if (r == MKC_OUT_OF_MEMORY || mkc_is_loss(r))
			failed(e, r, "opening params.handle");
		else
			mkc_fail_as(e->d, -EBADF, r, "mk_buffer_import",
				    "the driver does not take params.handle: "
				    "it has to be of memory that another "
				    "process still holds, on this device");
		return NULL;
	}
	m->next = e->maps;
	e->maps = m;
	return m;
}

/* Nobody uses it any more; the kernel is off. */
static void map_free(struct mk_engine *e, struct mkc_map *m)
{
	struct mkc_map **at = &e->maps;

	while (*at != m)
		at = &(*at)->next;
	*at = m->next;
	if (!e->on)
		e->d->ipc_close(m->base);
	free(m);
}

int mkc_import_ipc(struct mk_engine *e, const unsigned char *handle,
		   uint64_t offset, uint64_t bytes, struct mkc_map **out)
{
	struct mkc_map *m = map_find(e, handle);
	bool was_on = e->on;
	struct mk_error why;
	int r = 0;

	if (!m)
		m = map_new(e, handle);
	if (m) {
		CUdeviceptr at = m->base + offset;

		r = at < m->base ? refuse(-MK_ERANGE, 0, "params.offset %llu "
					  "is beyond all memory",
					  (unsigned long long)offset) :
				   check_range(e, at, bytes);
		if (!r)
			r = check_place(e, m->base);
		if (r && !m->users) {
			why = *mk_error_last();
			map_free(e, m);
			mk_error_copy(&why);
		}
	}
	if (m && !r) {
		m->users++;
		*out = m;
		return 0;
	}
	why = *mk_error_last();
	if (was_on && !e->on)
		mkc_step_back(e);
	return mk_error_copy(&why);
}

int mkc_import_end(struct mk_engine *e, struct mkc_map *m, uint64_t timeout_ns)
{
	bool was_on = e->on;
	int r;

	if (m->users == 1) {
		/* whoever exported it may free it when we return */
		r = mkc_step_aside(e, timeout_ns);
		if (r)
			return r;
	}
	if (!--m->users)
		map_free(e, m);
	return was_on && !e->on ? mkc_step_back(e) : 0;
}

void mkc_import_close(struct mk_engine *e)
{
	while (e->maps)
		map_free(e, e->maps);
}
