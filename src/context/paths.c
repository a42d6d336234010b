/* SPDX-License-Identifier: Apache-2.0 */
#include "context/paths.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "context/evidence.h"
#include "worker/spawn.h"

static int no_memory(void)
{
	return mk_error_set(-ENOMEM, ENOMEM, "mk_ctx_create",
			    "no memory for a context");
}

static int copy_string(char **to, const char *from)
{
	*to = from ? strdup(from) : NULL;
	return from && !*to ? no_memory() : 0;
}

/* NULL stays NULL, and "" what it stands for. */
static int copy_path(char **to, const char *from, const char *field)
{
	char here[PATH_MAX];

	if (!from || !*from || *from == '/')
		return copy_string(to, from);
	if (!getcwd(here, sizeof(here)))
		return mk_error_set(-errno, errno, "mk_ctx_create",
				    "params.%s is %s, but the directory that "
				    "this begins in is not known: %s", field,
				    from, strerror(errno));
	if (asprintf(to, "%s/%s", here, from) < 0) {
		*to = NULL;
		return no_memory();
	}
	return 0;
}

/* The place where it is found now; its file may be another by then. */
static int find_worker(struct mk_ctx *ctx, const char *given)
{
	char path[PATH_MAX];
	int r;

	if (ctx->isolation != MK_ISOLATION_PROCESS)
		return 0;
	r = mk_spawn_find(given, path, sizeof(path));
	return r ? r : copy_path(&ctx->worker_path, path, "worker_path");
}

/* Where an engine that compiles by itself keeps what it made. */
static int config_cache(struct mk_engine_config *c, const char *dir)
{
	size_t bytes = dir ? strlen(dir) : 0;

	if (bytes >= sizeof(c->cache_dir))
		return mk_error_set(-ENAMETOOLONG, ENAMETOOLONG,
				    "mk_ctx_create",
				    "params.cache_dir has %zu characters, at "
				    "most %zu will do", bytes,
				    sizeof(c->cache_dir) - 1);
	if (!dir)
		return 0;
	c->cache = bytes ? MK_CACHE_DIR : MK_CACHE_NONE;
	memcpy(c->cache_dir, dir, bytes);
	return 0;
}

int mk_paths_keep(struct mk_ctx *ctx, const struct mk_ctx_params *p)
{
	int r = copy_path(&ctx->cache_dir, p->cache_dir, "cache_dir");

	if (!r)
		r = config_cache(&ctx->config, ctx->cache_dir);
	if (!r)
		r = copy_string(&ctx->compiler, p->compiler);
	if (!r)
		r = mk_evidence_dir(p->evidence_dir, &ctx->evidence_dir);
	return r ? r : find_worker(ctx, p->worker_path);
}

void mk_paths_free(struct mk_ctx *ctx)
{
	free(ctx->cache_dir);
	free(ctx->worker_path);
	free(ctx->compiler);
	free(ctx->evidence_dir);
}
