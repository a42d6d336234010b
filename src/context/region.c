/* SPDX-License-Identifier: Apache-2.0 */
#include "context/region.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008u /* Linux 6.3 */
#endif

static int memfd(void)
{
	int fd = memfd_create("megakernel", MFD_CLOEXEC | MFD_ALLOW_SEALING |
						    MFD_NOEXEC_SEAL);

	if (fd < 0 && errno == EINVAL)
		fd = memfd_create("megakernel",
				  MFD_CLOEXEC | MFD_ALLOW_SEALING);
	return mk_fd_keep(fd);
}

int mk_region_create(struct mk_region *region, uint64_t shared_bytes,
		     uint64_t heap_bytes)
{
	uint64_t total = shared_bytes + heap_bytes;
	const char *what = "memfd_create";
	void *base;
	int fd, e;

	if (total > mk_file_size_limit())
		return mk_error_set(-EFBIG, EFBIG, "mk_ctx_create",
				    "%llu bytes of shared memory exceed the "
				    "limit on the size of a file "
				    "(RLIMIT_FSIZE), %llu; lower shared_bytes "
				    "and heap_bytes, or raise it",
				    (unsigned long long)total,
				    (unsigned long long)mk_file_size_limit());
	fd = memfd();
	if (fd < 0)
		goto fail;
	what = "ftruncate";
	if (ftruncate(fd, (off_t)total))
		goto fail;
	what = "fcntl(F_ADD_SEALS)";
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
		goto fail;
	what = "mmap";
	base = mmap(NULL, total, PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_NORESERVE, fd, 0);
	if (base == MAP_FAILED)
		goto fail;
	region->base = base;
	region->fd = fd;
	region->shared_bytes = shared_bytes;
	region->total_bytes = total;
	return 0;
fail:
	e = errno;
	if (fd >= 0)
		close(fd);
	return mk_error_set(-e, e, "mk_ctx_create",
			    "%s of %llu bytes of shared memory: %s; lower "
			    "shared_bytes and heap_bytes, or raise the limits "
			    "of address space and open files", what,
			    (unsigned long long)total, strerror(e));
}

void mk_region_destroy(struct mk_region *region)
{
	if (!region->base)
		return;
	munmap(region->base, region->total_bytes);
	close(region->fd);
	memset(region, 0, sizeof(*region));
}

int mk_region_take(struct mk_ctx *ctx, struct mk_space *space,
		   uint64_t bytes, uint64_t *offset, const char *operation,
		   const char *field)
{
	int r = mk_space_alloc(space, bytes, offset);

	if (r)
		return mk_error_set(-ENOMEM, ENOMEM, operation,
				    "no room for %llu bytes: %llu are used; "
				    "raise mk_ctx_params.%s or free something",
				    (unsigned long long)bytes,
				    (unsigned long long)space->used, field);
	do {
		r = fallocate(ctx->region.fd, 0, (off_t)*offset,
			      (off_t)bytes) ? errno : 0;
	} while (r == EINTR);
	if (!r)
		return 0;
	mk_region_give(ctx, space, *offset, bytes);
	return mk_error_set(r == ENOSPC ? -ENOMEM : -r, r, operation,
			    "the system has no memory for %llu bytes of "
			    "shared memory: %s", (unsigned long long)bytes,
			    strerror(r));
}

void mk_region_give(struct mk_ctx *ctx, struct mk_space *space,
		    uint64_t offset, uint64_t bytes)
{
	uint64_t whole = (bytes + MK_REGION_GRAIN - 1) &
			 ~(uint64_t)(MK_REGION_GRAIN - 1);

	/* A hole reads as zeros, which the next owner relies on. But a device
	 * that has the pages pinned would go on with those that were there. */
	if ((ctx->real && !(ctx->real->traits & MK_TRAIT_HOST_MEMORY)) ||
	    fallocate(ctx->region.fd,
		      FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		      (off_t)offset, (off_t)whole))
		memset(ctx->region.base + offset, 0, whole);
	mk_space_free(space, offset, bytes);
}
