/* SPDX-License-Identifier: Apache-2.0 */
/* Power and use of a device over a time, where NVML is there to ask. */
#ifndef BENCH_NVML_H
#define BENCH_NVML_H

#include <stdbool.h>

struct bench_nvml;

struct bench_use {
	bool has_watts, has_busy, has_sm;
	double watts; /* mean */
	double busy;  /* percent of the time with a kernel on the device */
	double sm;    /* percent of the multiprocessors that had a warp */
};

/* By PCI bus; NULL: there is no NVML or it does not know the device. */
struct bench_nvml *bench_nvml_open(const char *bus);
void bench_nvml_close(struct bench_nvml *n);

/* The driver's version; "" if it is not told. */
const char *bench_nvml_driver(struct bench_nvml *n);

/* Takes `seconds`. n NULL: sleeps, and nothing is known. */
void bench_nvml_watch(struct bench_nvml *n, double seconds,
		      struct bench_use *out);

#endif
