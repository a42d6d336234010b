/* SPDX-License-Identifier: Apache-2.0 */
/* ctest-timeout: 240 */
/*
 * Records of evidence in files: one pair for each loss, whoever else writes to
 * the directory, and however soon the context ends; a directory that will not
 * do is refused, and one that fails later is told of.
 */
#include "rig.h"

#include <dirent.h>
#include <sys/stat.h>

#define LOSSES 5u

static char dir[] = "/tmp/mk-evidence-XXXXXX";

static int setup(void **state)
{
	(void)state;
	memcpy(dir + sizeof(dir) - 7, "XXXXXX", 6);
	return mkdtemp(dir) ? 0 : -1;
}

static void in_dir(char path[300], const char *name)
{
	snprintf(path, 300, "%s/%s", dir, name);
}

/* How many of the files in the directory end like this, and have these words;
 * NULL: any. */
static unsigned count(const char *ending, const char *words)
{
	char path[300], text[20000];
	DIR *list = opendir(dir);
	struct dirent *d;
	unsigned n = 0;

	assert_non_null(list);
	while ((d = readdir(list))) {
		size_t bytes;
		FILE *f;

		if (strlen(d->d_name) < strlen(ending) ||
		    strcmp(d->d_name + strlen(d->d_name) - strlen(ending),
			   ending))
			continue;
		in_dir(path, d->d_name);
		f = fopen(path, "re");
		assert_non_null(f);
		bytes = fread(text, 1, sizeof(text) - 1, f);
		text[bytes] = '\0';
		fclose(f);
		n += !words || strstr(text, words);
	}
	closedir(list);
	return n;
}

/* All away; nothing is there that is not a record. */
static int teardown(void **state)
{
	char path[300];
	DIR *list = opendir(dir);
	struct dirent *d;

	(void)state;
	while (list && (d = readdir(list))) {
		in_dir(path, d->d_name);
		if (!strncmp(d->d_name, "evidence-", 9))
			unlink(path);
	}
	if (list)
		closedir(list);
	return rmdir(dir);
}

static struct mk_ctx_params params(uint32_t recovery)
{
	struct mk_ctx_params p = support_params("cpu", MK_ISOLATION_PROCESS);

	p.recovery = recovery;
	p.restarts_max = 1000;
	p.restart_delay_ns = 1;
	p.evidence_dir = dir;
	return p;
}

static struct mk_ctx *dir_ctx(uint32_t recovery)
{
	struct mk_ctx_params p = params(recovery);

	return support_ctx_with(&p);
}

static void crash(struct mk_queue *q, uint16_t bad, uint64_t user_data)
{
	rig_submit(q, bad, user_data, 0, BAD_SEGV, 0);
	assert_int_equal(support_reap(q).result, -MK_EFAULT);
}

static void refused_dir(const char *given, int code)
{
	struct mk_ctx_params p = params(0);
	struct mk_ctx *ctx;

	p.evidence_dir = given;
	assert_int_equal(mk_ctx_create(&p, &ctx), code);
	support_error(code, "params.evidence_dir", given, NULL);
}

static void refused(void **state)
{
	char file[300], none[300], *longer = malloc(5000);
	struct mk_ctx_params p = params(0);
	struct mk_ctx *ctx;
	FILE *f;

	(void)state;
	assert_non_null(longer);
	in_dir(file, "evidence-file");
	in_dir(none, "none");
	f = fopen(file, "we");
	assert_non_null(f);
	fclose(f);
	memset(longer, 'x', 4999);
	longer[4999] = '\0';
	refused_dir("", -ENOENT);
	refused_dir(none, -ENOENT);
	refused_dir(file, -ENOTDIR);
	/* root may write anywhere */
	if (geteuid()) {
		assert_int_equal(chmod(dir, 0500), 0);
		refused_dir(dir, -EACCES);
		assert_int_equal(chmod(dir, 0700), 0);
	}
	p.evidence_dir = longer;
	assert_int_equal(mk_ctx_create(&p, &ctx), -ENAMETOOLONG);
	free(longer);
}

/* The end comes right after the answer. */
static void at_once(void **state)
{
	(void)state;
	for (uint64_t i = 1; i <= LOSSES; i++) {
		struct mk_ctx *ctx = dir_ctx(MK_RECOVERY_OFF);
		struct mk_queue *q = support_queue(ctx, 64);
		uint16_t bad = rig_load(ctx);
		struct mk_completion c;
		char words[32];

		rig_submit(q, bad, 0xa00 + i, 0, BAD_SEGV, 0);
		while (mk_queue_reap(q, &c, 1) != 1)
			mk_queue_wait(q, 1, SUPPORT_NS);
		assert_int_equal(c.result, -MK_EFAULT);
		assert_int_equal(mk_ctx_destroy(ctx, SUPPORT_NS), 0);
		snprintf(words, sizeof(words), "user_data 0x%x",
			 0xa00 + (unsigned)i);
		assert_int_equal(count(".txt", words), 1);
		assert_int_equal(count(".json", NULL), i);
	}
}

/* Each of many losses, one right after the other. */
static void each(void **state)
{
	struct mk_ctx *ctx = dir_ctx(0);
	struct mk_queue *q = support_queue(ctx, 64);
	uint16_t bad = rig_load(ctx);

	(void)state;
	for (unsigned i = 1; i <= 4 * LOSSES; i++)
		crash(q, bad, i);
	support_queue_end(q);
	support_ctx_end(ctx);
	assert_int_equal(count(".txt", NULL), 4 * LOSSES);
	assert_int_equal(count(".json", "\"cause\":\"crash\""), 4 * LOSSES);
}

/* Two contexts of a process, and one that is long gone. */
static void others(void **state)
{
	char path[300], name[64];
	struct mk_ctx *ctx[2];
	struct mk_queue *q[2];
	uint16_t bad[2];
	FILE *f;

	(void)state;
	snprintf(name, sizeof(name), "evidence-%d-1.json", (int)getpid());
	in_dir(path, name);
	f = fopen(path, "we");
	assert_non_null(f);
	fputs("an older one", f);
	fclose(f);
	for (unsigned i = 0; i < 2; i++) {
		ctx[i] = dir_ctx(0);
		q[i] = support_queue(ctx[i], 64);
		bad[i] = rig_load(ctx[i]);
	}
	for (unsigned k = 0; k < LOSSES; k++) {
		for (unsigned i = 0; i < 2; i++)
			rig_submit(q[i], bad[i], 0xb0 + i, 0, BAD_SEGV, 0);
		for (unsigned i = 0; i < 2; i++)
			assert_int_equal(support_reap(q[i]).result,
					 -MK_EFAULT);
	}
	for (unsigned i = 0; i < 2; i++) {
		support_queue_end(q[i]);
		support_ctx_end(ctx[i]);
	}
	assert_int_equal(count(".json", "an older one"), 1);
	assert_int_equal(count(".json", "\"user_data\":\"0xb0\""), LOSSES);
	assert_int_equal(count(".json", "\"user_data\":\"0xb1\""), LOSSES);
	assert_int_equal(count(".txt", NULL), 2 * LOSSES);
}

/* It may be named relative to a directory that is left later. */
static void relative(void **state)
{
	struct mk_ctx_params p = params(0);
	char *was = getcwd(NULL, 0);
	struct mk_ctx *ctx;
	struct mk_queue *q;

	(void)state;
	assert_non_null(was);
	assert_int_equal(chdir(dir), 0);
	p.evidence_dir = ".";
	ctx = support_ctx_with(&p);
	assert_int_equal(chdir(was), 0);
	free(was);
	q = support_queue(ctx, 64);
	crash(q, rig_load(ctx), 1);
	support_queue_end(q);
	support_ctx_end(ctx);
	assert_int_equal(count(".txt", NULL), 1);
	assert_int_equal(count(".json", NULL), 1);
}

/* What cannot be written says so, and is written when it can be. */
static void later(void **state)
{
	struct mk_ctx *ctx = dir_ctx(0);
	struct mk_queue *q = support_queue(ctx, 64);
	uint16_t bad = rig_load(ctx);
	char text[20000];

	(void)state;
	assert_int_equal(rmdir(dir), 0);
	for (unsigned i = 0; i < LOSSES; i++)
		crash(q, bad, i);
	support_evidence_has(ctx, "\nnot written to evidence_dir: No such");
	mk_ctx_evidence(ctx, MK_EVIDENCE_JSON, text, sizeof(text));
	assert_non_null(strstr(text, ",\"unwritten\":\"No such file"));
	assert_int_equal(mkdir(dir, 0700), 0);
	support_queue_end(q);
	support_ctx_end(ctx);
	assert_int_equal(count(".txt", NULL), LOSSES);
	assert_int_equal(count(".txt", "not written"), 0);
	assert_int_equal(count(".json", NULL), LOSSES);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(refused), TEST(at_once), TEST(each),
		TEST(others), TEST(relative), TEST(later),
	};

	return cmocka_run_group_tests_name("recovery/evidence", tests, NULL,
					   NULL);
}
