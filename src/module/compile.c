/* SPDX-License-Identifier: Apache-2.0 */
/* Compiling a module ahead of time, into a file. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/params.h"
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
static int save(int image, const char *engine, const char *path)
{
	char made[PATH_MAX], real[PATH_MAX];
	const char *target = path;
	unsigned handlers = 0;
	int file, n, rc = count_handlers(image, &handlers);

	if (rc)
		return rc;
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
	rc = mk_mkm_write(file, engine, NULL, handlers, image);
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
	const struct mk_engine_ops *engine;
	struct mk_toolchain tc = { .compiler = NULL };
	struct mk_ctx_params p;
	int image, rc;

	if (!source_path || !out_path)
		return mk_error_set(-EINVAL, 0, "mk_module_compile",
				    "%s is NULL", source_path ? "out_path" :
				    "source_path");
	rc = mk_params_copy(&p, sizeof(p), sizeof(p), params,
			    "mk_module_compile");
	if (rc)
		return rc;
	engine = mk_engine_find(p.engine);
	if (!engine)
		return mk_error_set(-MK_EENGINE, 0, "mk_module_compile",
				    "params.engine is \"%.32s\", which this "
				    "library does not have; see "
				    "mk_engine_list()", p.engine);
	rc = check_place(out_path);
	if (rc)
		return rc;
	tc.compiler = p.compiler;
	tc.cache_dir = p.cache_dir;
	tc.engine = engine->name;
	rc = mk_module_build(&tc, NULL, source_path, NULL, &image);
	if (rc)
		return rc;
	rc = save(image, engine->name, out_path);
	close(image);
	return rc;
}
