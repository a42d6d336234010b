/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many workers fit this machine: one for each core that our CPU mask
 * reaches. The kernel's sysfs says which hardware threads share a core. (Not
 * hwloc: loading its topology costs every start tens of milliseconds, and
 * this is all we would ask it.)
 */
#include <sched.h>
#include <stdio.h>

#include "engine/cpu/cpu.h"

/* The lowest CPU that shares a core with `cpu`; `cpu` itself if unknown. */
static unsigned first_sibling(unsigned cpu)
{
	unsigned first = cpu;
	char path[80];
	FILE *f;

	snprintf(path, sizeof(path),
		 "/sys/devices/system/cpu/cpu%u/topology/thread_siblings_list",
		 cpu);
	f = fopen(path, "re");
	if (!f)
		return cpu;
	if (fscanf(f, "%u", &first) != 1)
		first = cpu;
	fclose(f);
	return first;
}

static unsigned count_cores(const cpu_set_t *set, size_t bytes, unsigned cpus)
{
	unsigned cores = 0;

	for (unsigned cpu = 0; cpu < cpus; cpu++) {
		unsigned first;

		if (!CPU_ISSET_S(cpu, bytes, set))
			continue;
		first = first_sibling(cpu);
		/* a sibling outside our mask does not count for us */
		if (first == cpu || first >= cpus ||
		    !CPU_ISSET_S(first, bytes, set))
			cores++;
	}
	return cores;
}

unsigned cpu_core_count(void)
{
	/* the kernel refuses a set that is smaller than its own */
	for (unsigned cpus = 1024; cpus <= 1u << 16; cpus *= 2) {
		cpu_set_t *set = CPU_ALLOC(cpus);
		size_t bytes = CPU_ALLOC_SIZE(cpus);
		unsigned cores = 0;

		if (!set)
			break;
		if (!sched_getaffinity(0, bytes, set))
			cores = count_cores(set, bytes, cpus);
		CPU_FREE(set);
		if (cores)
			return cores;
	}
	return 1;
}
