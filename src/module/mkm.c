/* SPDX-License-Identifier: Apache-2.0 */
#include "module/mkm.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "module/hash.h"
#include "module/image.h"

static int refuse(const char *what, const char *why)
{
	return mk_error_set(-MK_EMODULE, 0, "mk_module_load",
			    "%s: %s: compile the module again", what, why);
}

/* Header and table with the check word as 0. */
static uint64_t front_check(struct mk_mkm_front *front)
{
	uint64_t kept = front->header.check, check;

	front->header.check = 0;
	check = XXH3_64bits(front, sizeof(front->header) +
				   front->header.images *
				   sizeof(front->image[0]));
	front->header.check = kept;
	return check;
}

static int check_version(const struct mk_mkm_header *h, const char *what)
{
	if (h->version != MK_MKM_VERSION)
		return mk_error_set(-MK_EMODULE, 0, "mk_module_load",
				    "%s: the file's format is version %u, "
				    "this library reads %u: compile the "
				    "module again", what, h->version,
				    MK_MKM_VERSION);
	if (h->abi != MK_ABI_VERSION || h->fingerprint != MK_FINGERPRINT)
		return mk_error_set(-MK_EMODULE, 0, "mk_module_load",
				    "%s: the module was compiled for ABI "
				    "version %u, fingerprint %08x; this "
				    "library has %u, %08x: compile it again",
				    what, h->abi, h->fingerprint,
				    MK_ABI_VERSION, (unsigned)MK_FINGERPRINT);
	return 0;
}

static int check_images(const struct mk_mkm_front *front, uint64_t file_bytes,
			const char *what)
{
	const struct mk_mkm_image *i = front->image;
	uint64_t least = sizeof(front->header) +
			 front->header.images * sizeof(*i);

	for (unsigned n = front->header.images; n; n--, i++) {
		if (i->engine[sizeof(i->engine) - 1] ||
		    i->target[sizeof(i->target) - 1])
			return refuse(what, "an engine's name in the table "
					    "does not end");
		if (i->offset % 8 || i->offset < least ||
		    i->offset > file_bytes || !i->bytes ||
		    i->bytes > MK_IMAGE_BYTES_MAX ||
		    i->bytes > file_bytes - i->offset)
			return refuse(what, "an image lies outside the file");
	}
	return 0;
}

static int no_image(const struct mk_mkm_front *front, const char *engine,
		    const char *what)
{
	char have[256];
	int used = 0;

	for (unsigned i = 0; i < front->header.images; i++) {
		const struct mk_mkm_image *m = &front->image[i];

		used += snprintf(have + used, sizeof(have) - (size_t)used,
				 "%s%.15s on %.15s", i ? ", " : "", m->engine,
				 m->target);
		if (used >= (int)sizeof(have) - 40)
			break;
	}
	return mk_error_set(-MK_EMODULE, 0, "mk_module_load",
			    "%s has no image for engine %s on %s, but for %s: "
			    "compile it again for that engine", what, engine,
			    mk_image_target(), have);
}

int mk_mkm_check(struct mk_mkm_front *front, uint64_t got,
		 uint64_t file_bytes, const char *engine, const char *what,
		 const struct mk_mkm_image **image)
{
	const struct mk_mkm_header *h = &front->header;
	int rc;

	if (got < sizeof(*h))
		return refuse(what, "the file is shorter than its header");
	if (memcmp(h->magic, MK_MKM_MAGIC, sizeof(h->magic)) != 0)
		return refuse(what, "the file is no compiled module");
	if (!h->images || h->images > MK_MKM_IMAGES_MAX ||
	    got < sizeof(*h) + h->images * sizeof(front->image[0]))
		return refuse(what, "the image table is cut short or damaged");
	if (h->check != front_check(front))
		return refuse(what, "the header is damaged");
	rc = check_version(h, what);
	if (rc)
		return rc;
	if (h->file_bytes != file_bytes || h->reserved)
		return refuse(what, "the file is cut short or has grown");
	rc = check_images(front, file_bytes, what);
	if (rc)
		return rc;
	for (unsigned i = 0; i < h->images; i++)
		if (!strcmp(front->image[i].engine, engine) &&
		    (!strcmp(front->image[i].target, MK_MKM_ANY) ||
		     !strcmp(front->image[i].target, mk_image_target()))) {
			*image = &front->image[i];
			return 0;
		}
	return no_image(front, engine, what);
}

static int hash_image(int image, uint64_t *bytes, uint64_t hash[2])
{
	struct mk_image_view view;
	XXH128_hash_t h;
	int rc = mk_image_map(image, &view);

	if (rc)
		return rc;
	h = XXH3_128bits(view.base, view.bytes);
	hash[0] = h.low64;
	hash[1] = h.high64;
	*bytes = view.bytes;
	mk_image_unmap(&view);
	return 0;
}

/* Copied first, then verified: what was verified is what will be used. */
static int take_image(int file, const struct mk_mkm_image *i, const char *what,
		      int *image)
{
	uint64_t hash[2], bytes;
	int fd, rc;

	rc = mk_image_copy(file, i->offset, i->bytes, &fd);
	if (rc == -ENODATA)
		return refuse(what, "the file is cut short");
	if (rc)
		return rc;
	rc = hash_image(fd, &bytes, hash);
	if (!rc && (hash[0] != i->hash[0] || hash[1] != i->hash[1]))
		rc = refuse(what, "the image is damaged");
	if (rc) {
		close(fd);
		return rc;
	}
	*image = fd;
	return 0;
}

int mk_mkm_read(int file, const char *engine, const uint64_t *key,
		const char *what, int *image)
{
	const struct mk_mkm_image *chosen;
	struct mk_mkm_front front;
	struct stat st;
	ssize_t got;
	int rc;

	memset(&front, 0, sizeof(front));
	do
		got = pread(file, &front, sizeof(front), 0);
	while (got < 0 && errno == EINTR);
	if (got < 0 || fstat(file, &st))
		return mk_error_set(-errno, errno, "mk_module_load",
				    "reading %s: %s", what,
				    mk_strerror(errno));
	rc = mk_mkm_check(&front, (uint64_t)got, (uint64_t)st.st_size, engine,
			  what, &chosen);
	if (!rc && key &&
	    (front.header.key[0] != key[0] || front.header.key[1] != key[1]))
		rc = refuse(what, "the file is the cache entry of another "
				  "module");
	return rc ? rc : take_image(file, chosen, what, image);
}

static int write_front(int file, const struct mk_mkm_front *front)
{
	const unsigned char *data = (const unsigned char *)front;
	size_t done = 0, all = sizeof(front->header) +
			       front->header.images * sizeof(front->image[0]);
	ssize_t n;

	while (done < all) {
		n = pwrite(file, data + done, all - done, (off_t)done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -ENOSPC;
		done += (size_t)n;
	}
	return 0;
}

static int write_image(int file, uint64_t offset, int image, uint64_t bytes)
{
	struct mk_image_view view;
	uint64_t done = 0;
	ssize_t n;
	int rc = mk_image_map(image, &view);

	if (rc)
		return rc;
	while (!rc && done < bytes) {
		n = pwrite(file, view.base + done, bytes - done,
			   (off_t)(offset + done));
		if (n > 0)
			done += (uint64_t)n;
		else if (!n || errno != EINTR)
			rc = n ? -errno : -ENOSPC;
	}
	mk_image_unmap(&view);
	return rc;
}

/* The table; images follow one another, each on a multiple of 8. */
static int fill_table(struct mk_mkm_front *front,
		      const struct mk_mkm_part *parts, unsigned count)
{
	uint64_t at = sizeof(front->header) + count * sizeof(front->image[0]);
	int rc = 0;

	for (unsigned n = 0; n < count && !rc; n++) {
		struct mk_mkm_image *i = &front->image[n];
		const char *target = parts[n].target;

		rc = hash_image(parts[n].image, &i->bytes, i->hash);
		snprintf(i->engine, sizeof(i->engine), "%s", parts[n].engine);
		snprintf(i->target, sizeof(i->target), "%s",
			 target ? target : mk_image_target());
		i->offset = (at + 7) & ~(uint64_t)7;
		at = i->offset + i->bytes;
	}
	front->header.file_bytes = at;
	return rc;
}

int mk_mkm_write(int file, const uint64_t *key, unsigned handlers,
		 const struct mk_mkm_part *parts, unsigned count)
{
	struct mk_mkm_front front;
	int rc;

	if (!count || count > MK_MKM_IMAGES_MAX)
		return -EINVAL;
	memset(&front, 0, sizeof(front));
	rc = fill_table(&front, parts, count);
	if (rc)
		return rc;
	memcpy(front.header.magic, MK_MKM_MAGIC, sizeof(front.header.magic));
	front.header.version = MK_MKM_VERSION;
	front.header.images = count;
	front.header.abi = MK_ABI_VERSION;
	front.header.fingerprint = MK_FINGERPRINT;
	front.header.handlers = handlers;
	if (key)
		memcpy(front.header.key, key, sizeof(front.header.key));
	front.header.check = front_check(&front);
	if (!mk_file_size_allowed(front.header.file_bytes))
		return -EFBIG;
	for (unsigned n = 0; n < count && !rc; n++)
		rc = write_image(file, front.image[n].offset, parts[n].image,
				 front.image[n].bytes);
	return rc ? rc : write_front(file, &front);
}

bool mk_mkm_is(int file)
{
	char magic[sizeof(MK_MKM_MAGIC) - 1];

	return pread(file, magic, sizeof(magic), 0) ==
		       (ssize_t)sizeof(magic) &&
	       !memcmp(magic, MK_MKM_MAGIC, sizeof(magic));
}
