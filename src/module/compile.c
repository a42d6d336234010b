/* SPDX-License-Identifier: Apache-2.0 */
/* Compiling a module ahead of time, into a file. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/params.h"
#include "engine/cuda/bundle.h"
#include "engine/cuda/driver.h"
#include "engine/engine.h"
#include "module/build.h"
#include "module/image.h"
#include "module/mkm.h"
#include "module/table.h"

static int fail(int error, const char *path)
{
	return mk_error_set(-error, error, "mk_module_compile",
			    "writing %.400s: %s", path, mk_strerror(error));
}

/* What shall be in the file. */
struct wanted {
	const struct mk_ctx_params *params;
	const char *source;
	struct mkc_arch arch[MKC_BUNDLE_ENTRIES_MAX];
	unsigned archs;
	bool cuda;
	struct mk_mkm_part part[MK_MKM_IMAGES_MAX];
	unsigned parts;
	unsigned handlers;
};

static int count_handlers(int image, unsigned *count)
{
	struct mk_handler_info *list = calloc(MK_MODULE_HANDLERS_MAX,
					      sizeof(*list));
	struct mk_image_view view;
	int rc;

	if (!list)
		return mk_error_set(-ENOMEM, ENOMEM, "mk_module_compile",
				    "no memory for a module");
	rc = mk_image_map(image, &view);
	if (!rc) {
		rc = mk_image_handlers(&view, "the module", list,
				       MK_MODULE_HANDLERS_MAX, count);
		mk_image_unmap(&view);
	}
	free(list);
	return rc;
}

/* ---- which engines ----------------------------------------------------- */

static int no_engine(const char *name)
{
	return mk_error_set(-MK_EENGINE, 0, "mk_module_compile",
			    "params.engine names \"%.32s\", which this "
			    "library does not have; see mk_engine_list()",
			    name);
}

/* "cuda:sm_90", or "cuda" for the device that is here. */
static int want_cuda(struct wanted *w, const char *name)
{
	struct mkc_arch *a = &w->arch[w->archs];
	struct mk_error why;
	unsigned sm;
	char end;
	int rc;

	if (w->archs == MKC_BUNDLE_ENTRIES_MAX)
		return mk_error_set(-EINVAL, 0, "mk_module_compile",
				    "params.engine names more than %u "
				    "architectures", MKC_BUNDLE_ENTRIES_MAX);
	if (!strcmp(name, "cuda")) {
		rc = mkc_driver_arch(w->params->device, &a->major, &a->minor);
		why = *mk_error_last();
		if (rc)
			return mk_error_set(rc, why.native, "mk_module_compile",
					    "the architecture to compile for "
					    "is that of device %u, but: "
					    "%.600s; or name it, as in "
					    "cuda:sm_90", w->params->device,
					    why.text);
	} else if (sscanf(name, "cuda:sm_%u%c", &sm, &end) == 1 &&
		   sm >= 10 && sm < 10000) {
		a->major = (int)sm / 10;
		a->minor = (int)sm % 10;
	} else {
		return mk_error_set(-EINVAL, 0, "mk_module_compile",
				    "params.engine names \"%.32s\"; an "
				    "architecture is named as in cuda:sm_90",
				    name);
	}
	w->cuda = true;
	w->archs++;
	return 0;
}

/* The image of an engine that runs on this machine's processor. */
static int want_host(struct wanted *w, const char *name)
{
	const struct mk_engine_ops *engine = mk_engine_find(name);
	struct mk_toolchain tc = { .compiler = w->params->compiler,
				   .cache_dir = w->params->cache_dir };
	int image, rc;

	if (!engine)
		return no_engine(name);
	if (w->parts == MK_MKM_IMAGES_MAX - 1)
		return mk_error_set(-EINVAL, 0, "mk_module_compile",
				    "params.engine names more than %u engines",
				    MK_MKM_IMAGES_MAX);
	tc.engine = engine->name;
	rc = mk_module_build(&tc, NULL, w->source, NULL, &image);
	if (rc)
		return rc;
	w->part[w->parts++] =
		(struct mk_mkm_part){ engine->name, NULL, image };
	return count_handlers(image, &w->handlers);
}

static int want_all(struct wanted *w, const char *engines)
{
	char name[64];
	int rc = 0;

	if (!engines)
		return want_host(w, NULL);
	while (!rc && *engines) {
		size_t bytes = strcspn(engines, ",");

		if (!bytes || bytes >= sizeof(name))
			return no_engine(engines);
		memcpy(name, engines, bytes);
		name[bytes] = '\0';
		engines += bytes + (engines[bytes] == ',');
		if (!strncmp(name, "cuda", 4) &&
		    (!name[4] || name[4] == ':'))
			rc = want_cuda(w, name);
		else
			rc = want_host(w, name);
	}
	return rc;
}

static int make_cuda(struct wanted *w)
{
	struct mk_toolchain tc = { .engine = "cuda" };
	struct mk_image_view view;
	int text, image, rc;

	/* the text as the engine would get it, with its name */
	rc = mk_module_build(&tc, NULL, w->source, NULL, &text);
	if (rc)
		return rc;
	rc = mk_image_map(text, &view);
	if (!rc) {
		rc = mkc_bundle_compile((const char *)view.base, view.bytes,
					w->arch, w->archs, &w->handlers,
					&image);
		mk_image_unmap(&view);
	}
	close(text);
	if (!rc)
		w->part[w->parts++] =
			(struct mk_mkm_part){ "cuda", MK_MKM_ANY, image };
	return rc;
}

/* ---- the file ----------------------------------------------------------- */

/* A device or pipe of this name would be replaced by a file: /dev/null too. */
static int check_place(const char *path)
{
	struct stat st;

	if (stat(path, &st) || S_ISREG(st.st_mode) || S_ISDIR(st.st_mode))
		return 0; /* of a directory, rename() tells */
	return mk_error_set(-EINVAL, 0, "mk_module_compile",
			    "out_path is %.400s, which is no regular file",
			    path);
}

/* Beside its place, then renamed: what is there is whole, old or new. */
static int save(const struct wanted *w, const char *path)
{
	char made[PATH_MAX], real[PATH_MAX];
	const char *target = path;
	int file, n, rc;

	/* a symbolic link stays one */
	if (realpath(path, real))
		target = real;
	n = snprintf(made, sizeof(made), "%s.%ld.%llx.tmp", target,
		     (long)getpid(), (unsigned long long)mk_now_ns());
	if (n < 0 || (size_t)n >= sizeof(made))
		return fail(ENAMETOOLONG, path);
	file = open(made, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	if (file < 0)
		return fail(errno, path);
	rc = mk_mkm_write(file, NULL, w->handlers, w->part, w->parts);
	if (close(file) && !rc)
		rc = -errno;
	if (!rc && rename(made, target))
		rc = -errno;
	if (rc) {
		unlink(made);
		return fail(-rc, path);
	}
	return 0;
}

int mk_module_compile(const struct mk_ctx_params *params,
		      const char *source_path, const char *out_path)
{
	struct wanted *w;
	struct mk_ctx_params p;
	int rc;

	if (!source_path || !out_path)
		return mk_error_set(-EINVAL, 0, "mk_module_compile",
				    "%s is NULL", source_path ? "out_path" :
				    "source_path");
	rc = mk_params_copy(&p, sizeof(p), sizeof(p), params,
			    "mk_module_compile");
	if (rc)
		return rc;
	rc = check_place(out_path);
	if (rc)
		return rc;
	w = calloc(1, sizeof(*w));
	if (!w)
		return mk_error_set(-ENOMEM, ENOMEM, "mk_module_compile",
				    "no memory for a module");
	w->params = &p;
	w->source = source_path;
	rc = want_all(w, p.engine);
	if (!rc && w->cuda)
		rc = make_cuda(w);
	if (!rc)
		rc = save(w, out_path);
	for (unsigned i = 0; i < w->parts; i++)
		close(w->part[i].image);
	free(w);
	return rc;
}
