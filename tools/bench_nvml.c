/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NVML, found at run time; the few declarations that we use are our own. The
 * power is the device's own energy counter over the time, where it has one.
 * "busy" says that some kernel was there; how many multiprocessors it used is
 * told by the performance counters (GPM) of Hopper and later.
 */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "bench_nvml.h"

/* both are pointers to what NVML keeps to itself */
typedef void *device;
typedef void *gpm_sample;

struct utilization {
	unsigned gpu, memory;
};

struct gpm_metric {
	unsigned id;
	int result;
	double value;
	const char *info[3];
};

/* The array is as long as the library's release says, and it reads no more
 * than `count` of it. */
struct gpm_get {
	unsigned version, count;
	gpm_sample first, second;
	struct gpm_metric metric[400];
};

#define GPM_VERSION 1u
#define GPM_SM_ACTIVE 2u
#define POWER_STEP_NS 20000000

/* X(field, symbol, arguments) */
#define NVML(X)                                                               \
	X(init, nvmlInit_v2, (void))                                          \
	X(shutdown, nvmlShutdown, (void))                                     \
	X(by_bus, nvmlDeviceGetHandleByPciBusId_v2, (const char *, device *)) \
	X(power, nvmlDeviceGetPowerUsage, (device, unsigned *))               \
	X(driver, nvmlSystemGetDriverVersion, (char *, unsigned))             \
	X(use, nvmlDeviceGetUtilizationRates, (device, struct utilization *))
/* The same, and NULL where the library is older. */
#define NVML_NEWER(X)                                                         \
	X(energy, nvmlDeviceGetTotalEnergyConsumption,                        \
	  (device, unsigned long long *))                                     \
	X(gpm_alloc, nvmlGpmSampleAlloc, (gpm_sample *))                      \
	X(gpm_free, nvmlGpmSampleFree, (gpm_sample))                          \
	X(gpm_take, nvmlGpmSampleGet, (device, gpm_sample))                   \
	X(gpm_read, nvmlGpmMetricsGet, (struct gpm_get *))

struct bench_nvml {
#define NVML_FIELD(field, symbol, args) int(*field) args;
	NVML(NVML_FIELD)
	NVML_NEWER(NVML_FIELD)
#undef NVML_FIELD
	void *library;
	device device;
	char version[80];
	gpm_sample sample[2]; /* NULL: no such counters */
	struct gpm_get get;
};

/* 0, or -1 if one that must be there is not. */
static int load(struct bench_nvml *n)
{
	void *found;

#define NVML_LOAD(field, symbol, args)            \
	found = dlsym(n->library, #symbol);       \
	if (!found)                               \
		return -1;                        \
	memcpy(&n->field, &found, sizeof(found));
#define NVML_TRY(field, symbol, args)             \
	found = dlsym(n->library, #symbol);       \
	memcpy(&n->field, &found, sizeof(found));
	NVML(NVML_LOAD)
	NVML_NEWER(NVML_TRY)
#undef NVML_LOAD
#undef NVML_TRY
	return 0;
}

static void open_counters(struct bench_nvml *n)
{
	if (!n->gpm_alloc || !n->gpm_free || !n->gpm_take || !n->gpm_read)
		return;
	for (unsigned i = 0; i < 2; i++)
		if (n->gpm_alloc(&n->sample[i]))
			n->sample[i] = NULL;
}

struct bench_nvml *bench_nvml_open(const char *bus)
{
	struct bench_nvml *n = calloc(1, sizeof(*n));

	if (!n)
		return NULL;
	n->library = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
	if (!n->library || load(n) || n->init()) {
		if (n->library)
			dlclose(n->library);
		free(n);
		return NULL;
	}
	if (n->by_bus(bus, &n->device)) {
		bench_nvml_close(n);
		return NULL;
	}
	if (n->driver(n->version, sizeof(n->version)))
		n->version[0] = 0;
	open_counters(n);
	return n;
}

void bench_nvml_close(struct bench_nvml *n)
{
	if (!n)
		return;
	for (unsigned i = 0; i < 2; i++)
		if (n->sample[i])
			n->gpm_free(n->sample[i]);
	n->shutdown();
	dlclose(n->library);
	free(n);
}

const char *bench_nvml_driver(struct bench_nvml *n)
{
	return n ? n->version : "";
}

static void nap(uint64_t ns)
{
	struct timespec t = { (time_t)(ns / 1000000000u),
			      (long)(ns % 1000000000u) };

	nanosleep(&t, NULL);
}

/* Mean of what is read now and then: for devices that count no energy. */
static void watch_power(struct bench_nvml *n, uint64_t until,
			struct bench_use *out)
{
	double sum = 0;
	unsigned count = 0, mw;

	do {
		if (!n->power(n->device, &mw)) {
			sum += mw / 1e3;
			count++;
		}
		nap(POWER_STEP_NS);
	} while (mk_now_ns() < until);
	out->has_watts = count > 0;
	out->watts = count ? sum / count : 0;
}

static void read_counters(struct bench_nvml *n, struct bench_use *out)
{
	memset(&n->get, 0, sizeof(n->get));
	n->get.version = GPM_VERSION;
	n->get.count = 1;
	n->get.first = n->sample[0];
	n->get.second = n->sample[1];
	n->get.metric[0].id = GPM_SM_ACTIVE;
	if (n->gpm_take(n->device, n->sample[1]) || n->gpm_read(&n->get) ||
	    n->get.metric[0].result)
		return;
	out->has_sm = true;
	out->sm = n->get.metric[0].value;
}

void bench_nvml_watch(struct bench_nvml *n, double seconds,
		      struct bench_use *out)
{
	uint64_t began = mk_now_ns();
	uint64_t until = began + (uint64_t)(seconds * 1e9);
	unsigned long long before = 0, after = 0;
	struct utilization use;
	bool counting, energy;

	memset(out, 0, sizeof(*out));
	if (!n) {
		nap(until - began);
		return;
	}
	counting = n->sample[0] && n->sample[1] &&
		   !n->gpm_take(n->device, n->sample[0]);
	energy = n->energy && !n->energy(n->device, &before);
	if (energy)
		nap(until - began);
	else
		watch_power(n, until, out);
	if (energy && !n->energy(n->device, &after) && after > before) {
		out->has_watts = true; /* the counter is in mJ */
		out->watts = (double)(after - before) * 1e6 /
			     (double)(mk_now_ns() - began);
	}
	if (counting)
		read_counters(n, out);
	if (!n->use(n->device, &use)) {
		out->has_busy = true;
		out->busy = use.gpu;
	}
}
