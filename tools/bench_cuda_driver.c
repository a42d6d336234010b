/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "bench_cuda.h"

/* All kernels of the baselines. */
static const char kernels[] =
	"extern \"C\" __global__ void bench_null() {}\n"
	"extern \"C\" __global__ void bench_flag(volatile unsigned *flag,\n"
	"					unsigned value)\n"
	"{ *flag = value; __threadfence_system(); }\n"
	"#define _Alignas alignas\n" BENCH_SAXPY_TYPES
	"extern \"C\" __global__ void bench_saxpy(const float *x, float *y,\n"
	"					 float a, unsigned n)\n"
	"{\n"
	"	unsigned first = blockIdx.x * blockDim.x + threadIdx.x;\n"
	"	unsigned lanes = gridDim.x * blockDim.x;\n"
	"	" BENCH_SAXPY_BODY
	"}\n";

/* The first line of what the kernel module says of itself. */
static void driver_text(char *out, size_t room)
{
	FILE *f = fopen("/proc/driver/nvidia/version", "r");
	char line[256], *at;

	out[0] = 0;
	if (!f)
		return;
	/* "NVRM version: NVIDIA UNIX ... Kernel Module  580.1  date" */
	if (fgets(line, sizeof(line), f)) {
		for (at = line; *at; at++)
			if (at > line && at[-1] == ' ' && *at >= '0' &&
			    *at <= '9' && strchr(at, '.'))
				break;
		at[strcspn(at, " \n")] = 0;
		snprintf(out, room, "%.60s", at);
	}
	fclose(f);
}

static const char *name_of(const struct cuda_calls *d, CUresult r)
{
	const char *name = NULL;

	if (!d->error_name || d->error_name(r, &name) || !name)
		return "an error without a name";
	return name;
}

static int refuse(struct bench_cuda *c, CUresult r, const char *what,
		  char *why, size_t room)
{
	snprintf(why, room, "%s: %s", what, name_of(&c->d, r));
	return -1;
}

static int find_device(struct bench_cuda *c, uint32_t device, char *why,
		       size_t room)
{
	struct cuda_calls *d = &c->d;
	uint64_t began = mk_now_ns();
	int devices = 0;
	CUresult r = d->init(0);

	c->init_ns = mk_now_ns() - began;
	if (!r)
		r = d->device_count(&devices);
	if (r)
		return refuse(c, r, "the CUDA driver does not start", why,
			      room);
	if (device >= (uint32_t)devices) {
		snprintf(why, room, "there is no CUDA device %u, there are %d",
			 device, devices);
		return -1;
	}
	r = d->device_get(&c->device, (int)device);
	if (!r)
		r = d->device_name(c->name, sizeof(c->name), c->device);
	if (!r)
		r = d->device_bus(c->bus, sizeof(c->bus), c->device);
	if (!r)
		r = d->device_attribute(&c->multiprocessors,
					MKC_ATTR_MULTIPROCESSORS, c->device);
	if (!r)
		r = d->device_attribute(&c->major, MKC_ATTR_MAJOR, c->device);
	if (!r)
		r = d->device_attribute(&c->minor, MKC_ATTR_MINOR, c->device);
	if (!r)
		r = d->version(&c->version);
	driver_text(c->driver_text, sizeof(c->driver_text));
	return r ? refuse(c, r, "asking for the device", why, room) : 0;
}

static int make_context(struct bench_cuda *c, char *why, size_t room)
{
	struct cuda_calls *d = &c->d;
	uint64_t began = mk_now_ns();
	/* spinning is the fastest way to synchronise; what is pinned is
	 * mapped without being asked for */
	CUresult r = d->ctx_flags(c->device, MKC_CTX_SCHED_SPIN);

	if (!r)
		r = d->ctx_retain(&c->ctx, c->device);
	c->retained = !r;
	if (!r)
		r = d->ctx_push(c->ctx);
	c->context_ns = mk_now_ns() - began;
	if (!r)
		r = d->stream_create(&c->stream, MKC_STREAM_NON_BLOCKING);
	return r ? refuse(c, r, "making a context", why, room) : 0;
}

static int make_kernels(struct bench_cuda *c, char *why, size_t room)
{
	struct cuda_calls *d = &c->d;
	uint64_t began = mk_now_ns();
	void *image = bench_cuda_compile(kernels, c->major, c->minor,
					 c->nvrtc, why, room);
	CUresult r;

	if (!image)
		return -1;
	c->compile_ns = mk_now_ns() - began;
	began = mk_now_ns();
	r = d->module_load(&c->module, image);
	c->load_ns = mk_now_ns() - began;
	free(image);
	if (!r)
		r = d->module_function(&c->null, c->module, "bench_null");
	if (!r)
		r = d->module_function(&c->flag, c->module, "bench_flag");
	if (!r)
		r = d->module_function(&c->saxpy, c->module, "bench_saxpy");
	return r ? refuse(c, r, "loading the kernels", why, room) : 0;
}

int bench_cuda_open(struct bench_cuda *c, uint32_t device, char *why,
		    size_t room)
{
	memset(c, 0, sizeof(*c));
	if (cuda_calls_load(&c->d, why, room) ||
	    find_device(c, device, why, room) || make_context(c, why, room) ||
	    make_kernels(c, why, room))
		return -1;
	return 0;
}

void bench_cuda_close(struct bench_cuda *c)
{
	CUcontext was;

	if (c->module)
		c->d.module_unload(c->module);
	if (c->stream)
		c->d.stream_destroy(c->stream);
	if (c->retained) {
		c->d.ctx_pop(&was);
		c->d.ctx_release(c->device);
	}
}

int bench_cuda_check(struct bench *b, CUresult r, const char *what)
{
	if (!r)
		return 0;
	return bench_fail(b, "%s: %s", what, name_of(&b->cuda->d, r));
}

void bench_cuda_cold(struct bench *b)
{
	const struct bench_cuda *c = b->cuda;

	bench_value(b, "cold.driver", "cuInit", (double)c->init_ns / 1e6,
		    "ms");
	bench_value(b, "cold.context", "a CUDA context",
		    (double)c->context_ns / 1e6, "ms");
	bench_value(b, "cold.nvrtc", "NVRTC, three kernels of five lines",
		    (double)c->compile_ns / 1e6, "ms");
	bench_value(b, "cold.load", "cuModuleLoadData of these",
		    (double)c->load_ns / 1e6, "ms");
}
