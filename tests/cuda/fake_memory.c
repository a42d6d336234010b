/* SPDX-License-Identifier: Apache-2.0 */
/* Part of fake_cuda.c: memory that is not the engine's, and copies that take
 * their time. */

/* ---- what the driver knows of a pointer ---- */

#define FAKE_ALLOCATIONS 16u

static struct fake_allocation {
	unsigned char *at;
	size_t bytes;
	enum fake_memory kind;
	int ordinal;
	CUcontext ctx;
} fake_allocations[FAKE_ALLOCATIONS];

void *fake_allocate(size_t bytes, enum fake_memory kind, int ordinal,
		    uintptr_t ctx)
{
	for (unsigned i = 0; i < FAKE_ALLOCATIONS; i++) {
		struct fake_allocation *a = &fake_allocations[i];

		if (a->at)
			continue;
		*a = (struct fake_allocation){
			.at = aligned_alloc(512, bytes), .bytes = bytes,
			.kind = kind, .ordinal = ordinal,
			.ctx = (CUcontext)ctx,
		};
		memset(a->at, 0, bytes);
		return a->at;
	}
	abort();
}

static struct fake_allocation *fake_allocation(CUdeviceptr at)
{
	unsigned char *p = (unsigned char *)(uintptr_t)at;

	for (unsigned i = 0; i < FAKE_ALLOCATIONS; i++) {
		struct fake_allocation *a = &fake_allocations[i];

		if (a->at && p >= a->at && p < a->at + a->bytes)
			return a;
	}
	return NULL;
}

void fake_release(void *at)
{
	struct fake_allocation *a = fake_allocation((uintptr_t)at);

	free(a->at);
	memset(a, 0, sizeof(*a));
}

static CUresult cuPointerGetAttribute(void *value, int which, CUdeviceptr at)
{
	struct fake_allocation *a = fake_allocation(at);
	unsigned type, managed;

	CALL;
	if (!a)
		return 1;
	type = a->kind == FAKE_HOST ? 1 : MKC_MEMORY_DEVICE;
	managed = a->kind == FAKE_MANAGED;
	switch (which) {
	case MKC_POINTER_MEMORY_TYPE: memcpy(value, &type, 4); break;
	case MKC_POINTER_MANAGED: memcpy(value, &managed, 4); break;
	case MKC_POINTER_ORDINAL: memcpy(value, &a->ordinal, 4); break;
	case MKC_POINTER_CONTEXT: memcpy(value, &a->ctx, 8); break;
	default: return 1;
	}
	return 0;
}

static CUresult cuMemGetAddressRange_v2(CUdeviceptr *base, size_t *bytes,
					CUdeviceptr at)
{
	struct fake_allocation *a = fake_allocation(at);

	CALL;
	if (!a)
		return 1;
	*base = (uintptr_t)a->at;
	*bytes = a->bytes;
	return 0;
}

/* A handle is the address, behind a letter. */
void fake_export(void *at, unsigned char handle[64])
{
	memset(handle, 0, 64);
	handle[0] = 'I';
	memcpy(handle + 1, &at, sizeof(at));
}

static CUresult cuIpcOpenMemHandle_v2(CUdeviceptr *at,
				      struct mkc_ipc_handle h, unsigned flags)
{
	void *p;

	(void)flags;
	would_wait(__func__);
	CALL;
	memcpy(&p, h.bytes + 1, sizeof(p));
	if (h.bytes[0] != 'I' || !fake_allocation((uintptr_t)p))
		return 400;
	*at = (uintptr_t)p;
	fake.mapped++;
	return 0;
}

static CUresult cuIpcCloseMemHandle(CUdeviceptr at)
{
	(void)at;
	would_wait(__func__);
	CALL;
	fake.mapped--;
	return 0;
}

/* ---- copies ---- */

/* With fake.slow_copies a copy is made when its stream is asked for the
 * second time; what is there by then is what it copies. */
#define FAKE_COPIES 128u

static struct {
	void *to;
	const void *from;
	size_t bytes;
} fake_copies[FAKE_COPIES];
static unsigned fake_copies_due, fake_copies_asked;

static CUresult fake_copy(void *to, const void *from, size_t bytes)
{
	if (!fake.slow_copies || fake_copies_due == FAKE_COPIES) {
		memcpy(to, from, bytes);
		return 0;
	}
	fake_copies[fake_copies_due].to = to;
	fake_copies[fake_copies_due].from = from;
	fake_copies[fake_copies_due++].bytes = bytes;
	fake_copies_asked = 0;
	if (fake_copies_due > fake.copies_high)
		fake.copies_high = fake_copies_due;
	return 0;
}

/* The stream with the copies is asked. */
static CUresult fake_copies_query(void)
{
	if (!fake_copies_due)
		return 0;
	if (!fake_copies_asked++)
		return MKC_NOT_READY;
	for (unsigned i = 0; i < fake_copies_due; i++)
		memcpy(fake_copies[i].to, fake_copies[i].from,
		       fake_copies[i].bytes);
	fake_copies_due = 0;
	return 0;
}

static CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void *from,
				     size_t bytes, CUstream s)
{
	(void)s;
	CALL;
	return fake_copy((void *)(uintptr_t)to, from, bytes);
}

static CUresult cuMemcpyDtoHAsync_v2(void *to, CUdeviceptr from, size_t bytes,
				     CUstream s)
{
	(void)s;
	CALL;
	return fake_copy(to, (const void *)(uintptr_t)from, bytes);
}
