/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/cuda/driver.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#include "base/error.h"

static struct mkc_driver driver;
static struct mk_error why_not; /* code 0: the driver is there */
static pthread_once_t once = PTHREAD_ONCE_INIT;

static int refuse(int native, const char *format, const char *what)
{
	return mk_error_set(-MK_EENGINE, native, "cuda driver", format, what);
}

/* What the driver calls a result; never NULL. */
static const char *name_of(const struct mkc_driver *d, CUresult result)
{
	const char *name = NULL;

	if (!d->error_name || d->error_name(result, &name) || !name)
		name = "an error without a name";
	return name;
}

static const char *text_of(const struct mkc_driver *d, CUresult result)
{
	const char *text = NULL;

	if (!d->error_string || d->error_string(result, &text) || !text)
		text = "the driver says nothing about it";
	return text;
}

/* What a kernel, or the hardware, did to the device. All else is this machine
 * not having, or not allowing, something. */
static bool is_fault(CUresult result)
{
	return result == MKC_ECC || result == MKC_UNKNOWN ||
	       (result >= MKC_FAULTS && result < MKC_FAULTS_END);
}

int mkc_fail(const struct mkc_driver *d, CUresult result,
	     const char *operation, const char *what)
{
	int code;

	if (result == MKC_OUT_OF_MEMORY)
		code = -ENOMEM;
	else
		code = is_fault(result) ? -MK_EDEVLOST : -MK_EENGINE;
	return mk_error_set(code, result, operation, "%s: %s: %s", what,
			    name_of(d, result), text_of(d, result));
}

/* Every symbol, or say which one is missing. */
static int load_symbols(void)
{
	static const struct {
		const char *name;
		size_t at;
	} symbols[] = {
#define MKC_SYMBOL(field, symbol, args) \
	{ #symbol, offsetof(struct mkc_driver, field) },
		MKC_DRIVER(MKC_SYMBOL)
#undef MKC_SYMBOL
	};

	for (size_t i = 0; i < sizeof(symbols) / sizeof(symbols[0]); i++) {
		void *found = dlsym(driver.library, symbols[i].name);

		if (!found)
			return refuse(0, "libcuda.so.1 has no %s: the driver "
					 "is too old; update it to 470 or "
					 "newer", symbols[i].name);
		memcpy((char *)&driver + symbols[i].at, &found, sizeof(found));
	}
	return 0;
}

static int driver_open(void)
{
	CUresult r;

	driver.library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
	if (!driver.library)
		return refuse(0, "there is no CUDA driver (%.100s): install "
				 "one for this GPU", dlerror());
	if (load_symbols())
		return -MK_EENGINE;
	r = driver.driver_version(&driver.version);
	if (r)
		return refuse(r, "the CUDA driver does not say its version: "
				 "%s", name_of(&driver, r));
	if (driver.version < MKC_VERSION_MIN)
		return mk_error_set(-MK_EENGINE, 0, "cuda driver",
				    "the CUDA driver is of version %d.%d, the "
				    "oldest that will do is %d.%d: update it",
				    driver.version / 1000,
				    driver.version % 1000 / 10,
				    MKC_VERSION_MIN / 1000,
				    MKC_VERSION_MIN % 1000 / 10);
	r = driver.init(0);
	if (r == MKC_NO_DEVICE)
		return refuse(r, "the CUDA driver sees no GPU (%s)",
			      name_of(&driver, r));
	if (r)
		return refuse(r, "the CUDA driver does not start: %s",
			      name_of(&driver, r));
	r = driver.device_count(&driver.devices);
	if (r || driver.devices < 1)
		return refuse(r, "the CUDA driver sees no GPU (%s)",
			      name_of(&driver, r));
	return 0;
}

static void open_once(void)
{
	if (driver_open())
		why_not = *mk_error_last();
}

int mkc_driver_get(const struct mkc_driver **out)
{
	pthread_once(&once, open_once);
	if (why_not.code)
		return mk_error_copy(&why_not);
	*out = &driver;
	return 0;
}

int mkc_driver_arch(uint32_t device, int *major, int *minor)
{
	const struct mkc_driver *d;
	CUdevice handle;
	int r = mkc_driver_get(&d);

	if (r)
		return r;
	if (device <= INT32_MAX && !d->device_get(&handle, (int)device) &&
	    !d->device_attribute(major, MKC_ATTR_MAJOR, handle) &&
	    !d->device_attribute(minor, MKC_ATTR_MINOR, handle))
		return 0;
	return mk_error_set(-MK_EENGINE, 0, "cuda driver",
			    "the CUDA driver does not describe device %u",
			    device);
}
