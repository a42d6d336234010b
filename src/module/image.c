/* SPDX-License-Identifier: Apache-2.0 */
#include "module/image.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"

#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

static int fail(int error, const char *doing)
{
	return mk_error_set(-error, error, "mk_module_load",
			    "%s a module image: %s", doing,
			    mk_strerror(error));
}

static int write_all(int fd, const unsigned char *data, uint64_t bytes)
{
	ssize_t n;

	while (bytes) {
		n = write(fd, data, bytes);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -ENOSPC;
		data += n;
		bytes -= (uint64_t)n;
	}
	return 0;
}

bool mk_file_size_allowed(uint64_t bytes)
{
	return bytes <= mk_file_size_limit();
}

static int begin(uint64_t bytes, int *fd)
{
	if (!mk_file_size_allowed(bytes))
		return fail(EFBIG, "creating");
	*fd = mk_fd_keep(memfd_create("megakernel-module",
				      MFD_CLOEXEC | MFD_ALLOW_SEALING));
	return *fd < 0 ? fail(errno, "creating") : 0;
}

/* Seal and hand out, or close. */
static int end(int fd, int rc, int *image)
{
	if (!rc && fcntl(fd, F_ADD_SEALS, SEALS))
		rc = -errno;
	if (rc) {
		close(fd);
		return fail(-rc, "writing");
	}
	*image = fd;
	return 0;
}

int mk_image_create(const void *data, uint64_t bytes, int *image)
{
	int fd = -1, rc = begin(bytes, &fd);

	return rc ? rc : end(fd, write_all(fd, data, bytes), image);
}

static int copy_all(int to, int from, uint64_t offset, uint64_t bytes)
{
	unsigned char buffer[16384];
	ssize_t n;
	int rc = 0;

	while (bytes && !rc) {
		n = pread(from, buffer,
			  bytes < sizeof(buffer) ? bytes : sizeof(buffer),
			  (off_t)offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -ENODATA;
		rc = write_all(to, buffer, (uint64_t)n);
		offset += (uint64_t)n;
		bytes -= (uint64_t)n;
	}
	return rc;
}

int mk_image_copy(int file, uint64_t offset, uint64_t bytes, int *image)
{
	int fd = -1, rc = begin(bytes, &fd);

	return rc ? rc : end(fd, copy_all(fd, file, offset, bytes), image);
}

int mk_image_map(int image, struct mk_image_view *view)
{
	struct stat st;
	void *base;
	int seals = fcntl(image, F_GET_SEALS);

	if (seals < 0 || (seals & (SEALS & ~F_SEAL_SEAL)) !=
				 (SEALS & ~F_SEAL_SEAL))
		return mk_error_set(-MK_EMODULE, seals < 0 ? errno : 0,
				    "mk_module_load", "the module image is "
				    "not a sealed memfd, so it could change "
				    "while it is used");
	if (fstat(image, &st))
		return fail(errno, "looking at");
	if (st.st_size <= 0 || st.st_size > MK_IMAGE_BYTES_MAX)
		return mk_error_set(-MK_EMODULE, 0, "mk_module_load",
				    "the module image has %lld bytes; it must "
				    "have 1 to %u", (long long)st.st_size,
				    MK_IMAGE_BYTES_MAX);
	base = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, image, 0);
	if (base == MAP_FAILED)
		return fail(errno, "mapping");
	view->base = base;
	view->bytes = (uint64_t)st.st_size;
	return 0;
}

void mk_image_unmap(struct mk_image_view *view)
{
	if (view->base)
		munmap((void *)(uintptr_t)view->base, view->bytes);
	view->base = NULL;
	view->bytes = 0;
}
