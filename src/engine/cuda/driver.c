/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/cuda/driver.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"

static struct mkc_driver driver;
static bool ready;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static int refuse(const char *format, const char *what)
{
	return mk_error_set(-MK_EENGINE, 0, "cuda driver", format, what);
}

/* What the driver calls a result; never NULL. */
static const char *name_of(const struct mkc_driver *d, CUresult result)
{
	const char *name = NULL;

	if (!d->error_name || d->error_name(result, &name) || !name)
		name = "an error without a name";
	return name;
}

/* What the driver says of a result; never NULL. */
static const char *text_of(const struct mkc_driver *d, CUresult result)
{
	const char *text = NULL;

	if (!d->error_string || d->error_string(result, &text) || !text)
		text = "the driver says nothing about it";
	return text;
}

/* ---- results ------------------------------------------------------------- */

bool mkc_is_loss(CUresult result)
{
	switch (result) {
	case 4:   /* DEINITIALIZED: the process is ending */
	case 201: /* INVALID_CONTEXT */
	case MKC_ECC:
	case 220: /* NVLINK_UNCORRECTABLE */
	case 226: /* CONTAINED: an error of memory, kept to this process */
	case 700: /* ILLEGAL_ADDRESS */
	case 702: /* LAUNCH_TIMEOUT: the display's watchdog */
	case 709: /* CONTEXT_IS_DESTROYED */
	case 710: /* ASSERT */
	case 714: /* HARDWARE_STACK_ERROR */
	case 715: /* ILLEGAL_INSTRUCTION */
	case 716: /* MISALIGNED_ADDRESS */
	case 717: /* INVALID_ADDRESS_SPACE */
	case 718: /* INVALID_PC */
	case 719: /* LAUNCH_FAILED */
	case 806: /* MPS_RPC_FAILURE */
	case 810: /* MPS_CLIENT_TERMINATED */
	case 911: /* EXTERNAL_DEVICE */
	case MKC_UNKNOWN:
		return true;
	default:
		return false;
	}
}

/* What to do about results that say it of the machine; "" if there is nothing
 * to be said that the driver does not say. */
static const char *advice(CUresult result)
{
	static const struct {
		CUresult result;
		const char *words;
	} list[] = {
		{ 34, ": the toolkit's stub was found in place of the driver; "
		      "take its folder out of LD_LIBRARY_PATH" },
		{ MKC_DEVICE_UNAVAILABLE, ": another process has it; in "
		  "compute mode EXCLUSIVE_PROCESS one may (nvidia-smi -c 0 "
		  "changes that)" },
		{ MKC_NO_DEVICE, ": see nvidia-smi, and whether "
				 "CUDA_VISIBLE_DEVICES hides it" },
		{ 802, ": where GPUs are joined by NVSwitch, start "
		       "nvidia-fabricmanager" },
		{ 803, ": libcuda and the kernel's module are of two "
		       "releases; reboot, or install one of them again" },
		{ 804, ": take cuda-compat out of LD_LIBRARY_PATH" },
		{ 805, ": start nvidia-cuda-mps-control, or unset "
		       "CUDA_MPS_PIPE_DIRECTORY" },
	};

	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++)
		if (list[i].result == result)
			return list[i].words;
	return "";
}

int mkc_fail_as(const struct mkc_driver *d, int code, CUresult result,
		const char *operation, const char *what)
{
	return mk_error_set(code, result, operation, "%s: %s: %s%s", what,
			    name_of(d, result), text_of(d, result),
			    advice(result));
}

int mkc_fail(const struct mkc_driver *d, CUresult result,
	     const char *operation, const char *what)
{
	int code = result == MKC_OUT_OF_MEMORY ? -ENOMEM :
		   mkc_is_loss(result)	       ? -MK_EDEVLOST :
						 -MK_EENGINE;

	return mkc_fail_as(d, code, result, operation, what);
}

int mkc_fail_device(const struct mkc_driver *d, CUresult result,
		    uint32_t device)
{
	char what[64];

	snprintf(what, sizeof(what), "the CUDA driver does not describe device "
		 "%u", device);
	return mkc_fail_as(d, -MK_EENGINE, result, "cuda driver", what);
}

/* ---- the library --------------------------------------------------------- */

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
			return refuse("libcuda.so.1 has no %s: the driver "
				      "is too old; update it to 470 or newer",
				      symbols[i].name);
		memcpy((char *)&driver + symbols[i].at, &found, sizeof(found));
	}
	return 0;
}

static int check_version(void)
{
	CUresult r = driver.driver_version(&driver.version);

	if (r)
		return mkc_fail_as(&driver, -MK_EENGINE, r, "cuda driver",
				   "the CUDA driver does not say its version");
	if (driver.version >= MKC_VERSION_MIN)
		return 0;
	return mk_error_set(-MK_EENGINE, 0, "cuda driver",
			    "the CUDA driver is of version %d.%d, the oldest "
			    "that will do is %d.%d: update it",
			    driver.version / 1000, driver.version % 1000 / 10,
			    MKC_VERSION_MIN / 1000,
			    MKC_VERSION_MIN % 1000 / 10);
}

/* Kept open: what is loaded under this name stays what it is. */
static int library_open(void)
{
	const char *why;

	if (driver.library)
		return 0;
	driver.library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
	if (driver.library)
		return 0;
	why = dlerror();
	return refuse("there is no CUDA driver (%.100s): install one for "
		      "this GPU", why ? why : "no reason is given");
}

static int driver_open(void)
{
	CUresult r;

	if (library_open() || load_symbols() || check_version())
		return -MK_EENGINE;
	r = driver.init(0);
	if (r)
		return mkc_fail_as(&driver, -MK_EENGINE, r, "cuda driver",
				   r == MKC_NO_DEVICE ?
					   "the CUDA driver sees no GPU" :
					   "the CUDA driver does not start");
	r = driver.device_count(&driver.devices);
	if (!r && driver.devices < 1)
		r = MKC_NO_DEVICE;
	if (r)
		return mkc_fail_as(&driver, -MK_EENGINE, r, "cuda driver",
				   "the CUDA driver sees no GPU");
	return 0;
}

/* What failed may work the next time: a process may be out of descriptors, or
 * the driver be installed or loaded meanwhile. */
int mkc_driver_get(const struct mkc_driver **out)
{
	int r = 0;

	pthread_mutex_lock(&lock);
	if (!ready)
		r = driver_open();
	if (!r) {
		ready = true;
		*out = &driver;
	}
	pthread_mutex_unlock(&lock);
	return r;
}

int mkc_driver_arch(uint32_t device, int *major, int *minor)
{
	const struct mkc_driver *d;
	CUdevice handle;
	CUresult native;
	int r = mkc_driver_get(&d);

	if (r)
		return r;
	native = device > INT32_MAX ? MKC_INVALID_DEVICE :
				      d->device_get(&handle, (int)device);
	if (!native)
		native = d->device_attribute(major, MKC_ATTR_MAJOR, handle);
	if (!native)
		native = d->device_attribute(minor, MKC_ATTR_MINOR, handle);
	if (!native)
		return 0;
	return mkc_fail_device(d, native, device);
}
