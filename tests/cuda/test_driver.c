/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What probing says of machines that will not do, and that our own
 * declarations of the driver are those of <cuda.h> where there is one.
 *
 * ctest-link: -Wl,--wrap=dlopen -Wl,--wrap=dlsym
 */
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "support/support.h"

#include "cuda/fake_cuda.c"

#include "engine/engine.h"

/* A driver is loaded once for a process, so every machine has its own. */
static void in_child(void (*run)(void))
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (!pid) {
		fake_reset();
		run();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

#define EXPECT(cond)                                                    \
	do {                                                            \
		if (!(cond)) {                                          \
			fprintf(stderr, "%s:%d: %s\n", __FILE__,        \
				__LINE__, #cond);                       \
			_exit(1);                                       \
		}                                                       \
	} while (0)

static struct mk_engine_info probe(uint32_t device)
{
	struct mk_engine_info info;
	int none;

	memset(&info, 0x5a, sizeof(info));
	info.device = device;
	none = mk_engine_cuda.probe(&info);
	EXPECT(!none || (none == 1 && info.available));
	EXPECT(!strcmp(info.name, "cuda"));
	EXPECT(info.device == device);
	return info;
}

/* Device 0 is not available, and the reason has these words. */
static void refused(const char *words)
{
	struct mk_engine_info info = probe(0);

	EXPECT(info.available == -MK_EENGINE);
	if (!strstr(info.reason, words)) {
		fprintf(stderr, "\"%s\" does not say \"%s\"\n", info.reason,
			words);
		_exit(1);
	}
}

static void healthy(void)
{
	struct mk_engine_info info = probe(0);

	EXPECT(!info.available);
	EXPECT(!strcmp(info.device_name, "Fake GPU"));
	EXPECT(info.units == 2 && info.workers == 16);
	EXPECT(info.warp_lanes == 32);
	EXPECT(info.memory_bytes == 1u << 30);
	EXPECT(info.clock_mhz == 1980 && info.capability == 90);
	EXPECT(info.driver == 13000);
	info = probe(1);
	EXPECT(info.available == -MK_EENGINE);
	EXPECT(strstr(info.reason, "no device 1"));
	info = probe(UINT32_MAX);
	EXPECT(info.available == -MK_EENGINE);
}

/* One that cannot be used does not hide those behind it. */
static void several(void)
{
	struct mk_engine_info list[8];
	uint32_t device = 0;
	int n;

	fake.devices = 4;
	fake.prohibited = 1u << 0 | 1u << 2;
	n = mk_engine_list(list, 8);
	EXPECT(n == 5 && mk_engine_list(NULL, 0) == 5);
	EXPECT(mk_engine_list(list, 3) == 5);
	for (int i = 0; i < n; i++) {
		bool bad = !(device % 2);

		if (strcmp(list[i].name, "cuda") != 0)
			continue;
		EXPECT(list[i].device == device++);
		EXPECT(list[i].available == (bad ? -MK_EENGINE : 0));
		EXPECT(!bad || strstr(list[i].reason, "PROHIBITED"));
	}
	EXPECT(device == 4);
}

/* Engines without a device are listed once, as their device 0. */
static void listed_without(void)
{
	struct mk_engine_info list[8];
	int n;

	fake.no_driver = true;
	n = mk_engine_list(list, 8);
	EXPECT(n == 2 && !strcmp(list[1].name, "cuda"));
	EXPECT(!list[1].device && list[1].available == -MK_EENGINE);
}

/* A worker for every multiprocessor at least, whatever their number. */
static void sizes(void)
{
	static const int units[] = { 1, 16, 128, 132, 200, 1024, 2000 };
	static const uint32_t workers[] = { 8, 128, 1024, 924, 1000, 1024,
					    1024 };

	for (unsigned i = 0; i < 7; i++) {
		fake.multiprocessors = units[i];
		EXPECT(probe(0).workers == workers[i]);
	}
}

static void no_driver(void)
{
	fake.no_driver = true;
	refused("no CUDA driver");
	refused("libcuda.so.1");
}

static void missing_symbol(void)
{
	fake.missing = "cuStreamQuery";
	refused("has no cuStreamQuery");
}

static void old_driver(void)
{
	fake.version = 11030;
	refused("version 11.3");
	refused("11.4");
}

static void no_device(void)
{
	fake.devices = 0;
	refused("no GPU");
}

static void init_fails(void)
{
	fake.fail_function = "cuInit";
	fake.fail_with = 999;
	refused("does not start: CUDA_ERROR_FAKE");
}

/* The whole sentence, and the driver's code, for who wants this device; the
 * list has no failure. */
static void init_says_why(void)
{
	static const struct {
		int result;
		const char *words;
	} cases[] = {
		{ 34, "stub" }, { 802, "fabricmanager" },
		{ 803, "two releases" }, { 804, "cuda-compat" },
		{ 46, "EXCLUSIVE_PROCESS" }, { 100, "CUDA_VISIBLE_DEVICES" },
	};
	struct mk_ctx_params p = { .size = sizeof(p), .engine = "cuda" };
	struct mk_ctx *ctx;

	fake.fail_function = "cuInit";
	for (unsigned i = 0; i < 6; i++) {
		fake.fail_with = cases[i].result;
		EXPECT(mk_ctx_create(&p, &ctx) == -MK_EENGINE);
		EXPECT(mk_error_last()->native == cases[i].result);
		EXPECT(strstr(mk_error_last()->text, "as the test wanted it"));
		EXPECT(strstr(mk_error_last()->text, cases[i].words));
	}
	fake.fail_with = 999;
	EXPECT(mk_engine_list(NULL, 0) == 2);
	EXPECT(mk_error_last()->native == 100);
}

/* What was not there may come. */
static void later(void)
{
	fake.no_driver = true;
	refused("no CUDA driver");
	fake.no_driver = false;
	fake.missing = "cuLaunchKernel";
	refused("has no cuLaunchKernel");
	fake.missing = NULL;
	fake.version = 11030;
	refused("version 11.3");
	fake.version = 13000;
	fake.fail_function = "cuInit";
	fake.fail_with = 802;
	refused("does not start: CUDA_ERROR_FAKE: as the test");
	fake.fail_function = NULL;
	fake.devices = 0;
	refused("no GPU");
	fake.devices = 1;
	EXPECT(!probe(0).available);
}

static void old_device(void)
{
	fake.major = 6;
	fake.minor = 1;
	refused("compute capability 6.1");
}

static void wide_warps(void)
{
	fake.lanes = 64;
	refused("warps of 64 lanes");
}

static void prohibited(void)
{
	fake.mode = MKC_MODE_PROHIBITED;
	refused("PROHIBITED");
}

static void cannot_map(void)
{
	fake.cannot_map = true;
	refused("cannot map host memory");
	fake.cannot_map = false;
	fake.apart = true;
	refused("cannot map host memory at the host's addresses");
}

static void no_units(void)
{
	fake.multiprocessors = 0;
	refused("has 0 multiprocessors");
	fake.multiprocessors = -1;
	refused("has -1 multiprocessors");
}

static void every_probe_call_fails(void)
{
	static const char *const calls[] = {
		"cuDriverGetVersion", "cuDeviceGetCount", "cuDeviceGet",
		"cuDeviceGetAttribute", "cuDeviceTotalMem_v2",
	};

	for (unsigned i = 0; i < 5; i++) {
		pid_t pid = fork();
		int status;

		if (!pid) {
			fake.fail_function = calls[i];
			fake.fail_with = 999;
			EXPECT(probe(0).available == -MK_EENGINE);
			EXPECT(mk_error_last()->native == 999);
			EXPECT(strstr(mk_error_last()->text,
				      "CUDA_ERROR_FAKE"));
			_exit(0);
		}
		EXPECT(waitpid(pid, &status, 0) == pid && !status);
	}
}

#define CASE(name)                       \
	static void test_##name(void **s) \
	{                                \
		(void)s;                 \
		in_child(name);          \
	}
CASE(healthy)
CASE(several)
CASE(listed_without)
CASE(sizes)
CASE(no_driver)
CASE(missing_symbol)
CASE(old_driver)
CASE(no_device)
CASE(init_fails)
CASE(init_says_why)
CASE(later)
CASE(old_device)
CASE(wide_warps)
CASE(prohibited)
CASE(cannot_map)
CASE(no_units)
CASE(every_probe_call_fails)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_healthy),
		cmocka_unit_test(test_several),
		cmocka_unit_test(test_listed_without),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_no_driver),
		cmocka_unit_test(test_missing_symbol),
		cmocka_unit_test(test_old_driver),
		cmocka_unit_test(test_no_device),
		cmocka_unit_test(test_init_fails),
		cmocka_unit_test(test_init_says_why),
		cmocka_unit_test(test_later),
		cmocka_unit_test(test_old_device),
		cmocka_unit_test(test_wide_warps),
		cmocka_unit_test(test_prohibited),
		cmocka_unit_test(test_cannot_map),
		cmocka_unit_test(test_no_units),
		cmocka_unit_test(test_every_probe_call_fails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
