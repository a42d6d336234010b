/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A CUDA driver and an NVRTC that are not there. A test that includes
 * fake_cuda.c and is linked with --wrap=dlopen and --wrap=dlsym gets them
 * whenever the library looks for the real ones.
 *
 * The fake counts every call, can be told to fail the n-th, and keeps books:
 * what was taken and not given back, and calls that would have hung beside a
 * resident kernel. A "kernel" is one of two things: a thread that does what
 * the monitor does and serves no slot; or the real kernel's text, compiled
 * for the CPU (emulate.h).
 */
#ifndef MK_TESTS_FAKE_CUDA_H
#define MK_TESTS_FAKE_CUDA_H

#include <stdbool.h>
#include <stdint.h>

enum fake_kernel {
	FAKE_MONITOR = 0, /* commands only */
	FAKE_EMULATED = 1 /* the whole kernel, on the CPU */
};

struct fake_cuda {
	/* what the machine is like; set before use */
	bool no_driver, no_nvrtc;
	const char *missing; /* a symbol that the driver lacks */
	const char *bad_nvrtc; /* the library of this name has no symbols */
	int version;         /* 13000 */
	int devices, multiprocessors, major, minor, lanes, mode;
	int blocks_each;     /* that fit on a multiprocessor */
	bool cannot_map, apart; /* no unified addressing */
	uint32_t prohibited; /* bit n: device n is, whatever `mode` is */
	enum fake_kernel kernel;
	uint32_t deaf;       /* the monitor takes no commands; store-release */
	uint32_t busy;       /* a slot runs and does not end; store-release */
	uint32_t locked;     /* every call waits while a kernel is resident, as
			      * behind one that holds the driver;
			      * store-release */
	bool waits;          /* calls that wait for kernels really do */
	bool slow_copies;
	int context_device;  /* of every context */
	uintptr_t stream_ctx; /* of a stream that the test gives */
	unsigned stream_flags;
	bool compile_error;
	const char *compile_log; /* the compiler fails with these words */

	/* fail the call number fail_at (from 1; 0: none) with fail_with */
	unsigned fail_at;
	int fail_with;
	/* ... or every call of this function */
	const char *fail_function;

	/* what happened */
	unsigned calls;
	unsigned queries;    /* of these, cuStreamQuery() */
	const char *failed;  /* the function that was made to fail */
	unsigned launches, compiles;
	unsigned quick;      /* of these compilations */
	unsigned grid, block; /* of the last launch */
	unsigned hung;       /* calls that would have waited for the kernel */
	const char *hung_in;
	int device_memory, host_memory, registered, streams, modules,
		contexts; /* taken and not given back */
	int mapped;       /* handles of another process */
	unsigned copies_high; /* most that were under way at once */
	int pushed;       /* contexts on the caller's stack, all threads */
};

extern struct fake_cuda fake;

/* A healthy machine with one device of 2 multiprocessors, nothing counted. */
void fake_reset(void);

/* A cache of our own: what the fake compiler makes is for no real device. */
void fake_cache(void);

/* Is a kernel running? */
bool fake_resident(void);

/* What a service thread may be changing: fake.calls, fake.launches; and what
 * it may be reading: fail_function, NULL for none, and fail_with. fail_at is
 * none from then on. */
unsigned fake_calls(void);
/* The same without cuStreamQuery(): whether the kernel is well may be asked
 * at any time, if this machine stalls. */
unsigned fake_other_calls(void);
unsigned fake_launches(void);
void fake_fail(const char *function, int with);

/* Let the resident kernel die as after a trap: everything fails with 719. */
void fake_kill_kernel(void);

#define FAKE_PRIMARY 0x1000u     /* the primary context */
#define FAKE_BAD_CONTEXT 0x666u  /* the driver does not know it */

enum fake_memory { FAKE_DEVICE, FAKE_MANAGED, FAKE_HOST };

/* Memory that the driver knows as this; the test's own. */
void *fake_allocate(size_t bytes, enum fake_memory kind, int ordinal,
		    uintptr_t ctx);
void fake_release(void *at);
void fake_export(void *at, unsigned char handle[64]);

/* A C++ compiler for FAKE_EMULATED; NULL: there is none. */
const char *fake_compiler(void);

#endif
