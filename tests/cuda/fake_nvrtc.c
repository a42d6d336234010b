/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A part of fake_cuda.c, which includes it: an NVRTC whose cubin is the number
 * of a source's handlers, or a shared object that the C++ compiler made.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct fake_program {
	const char *source;
	int headers;
	const char *const *texts, *const *names;
	char *image, log[4096];
	size_t bytes;
};

const char *fake_compiler(void)
{
	const char *cxx = getenv("CXX");

	if (cxx && *cxx)
		return cxx;
	return access("/usr/bin/c++", X_OK) ? NULL : "/usr/bin/c++";
}

/* The text of emulate.h, as a number: the cache goes by the version. */
static unsigned emulator_version(void)
{
	const char *tree = getenv("MEGAKERNEL_SOURCE");
	char path[512];
	unsigned hash = 2166136261u;
	FILE *f;
	int c;

	snprintf(path, sizeof(path), "%s/tests/cuda/emulate.h",
		 tree ? tree : ".");
	f = fopen(path, "r");
	while (f && (c = fgetc(f)) != EOF)
		hash = (hash ^ (unsigned)c) * 16777619u;
	if (f)
		fclose(f);
	return hash % 1000000u;
}

static int nvrtcVersion(int *major, int *minor)
{
	*major = 13;
	*minor = (int)emulator_version();
	return 0;
}

static int nvrtcGetNumSupportedArchs(int *n)
{
	*n = 2;
	return 0;
}

static int nvrtcGetSupportedArchs(int *list)
{
	list[0] = 75;
	list[1] = 90;
	return 0;
}

static int nvrtcCreateProgram(void **out, const char *source, const char *name,
			      int headers, const char *const *texts,
			      const char *const *names)
{
	struct fake_program *p = calloc(1, sizeof(*p));

	(void)name;
	p->source = source;
	p->headers = headers;
	p->texts = texts;
	p->names = names;
	*out = p;
	return 0;
}

static int nvrtcDestroyProgram(void **program)
{
	struct fake_program *p = *program;

	free(p->image);
	free(p);
	*program = NULL;
	return 0;
}

static int fake_put_file(const char *dir, const char *name, const char *text,
		    const char *more)
{
	char path[512];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	for (char *p = path + strlen(dir) + 1; *p; p++)
		if (*p == '/') {
			*p = '\0';
			mkdir(path, 0700);
			*p = '/';
		}
	f = fopen(path, "w");
	if (!f)
		return -1;
	fprintf(f, "%s%s", text, more);
	return fclose(f);
}

static bool is_system_header(const char *name)
{
	static const char *const names[] = { "string.h", "math.h", "limits.h",
					     "assert.h", "float.h" };

	for (unsigned i = 0; i < 5; i++)
		if (!strcmp(name, names[i]))
			return true;
	return !strncmp(name, "std", 3);
}

/* What emulate.h cannot define itself. */
static const char entry[] =
	"\nstatic void emu_kernel(const void *l)\n"
	"{ mkd_kernel(*(const struct mkd_launch *)l); }\n"
	"extern \"C\" __attribute__((visibility(\"default\")))\n"
	"size_t mkd_info_bytes;\nsize_t mkd_info_bytes = sizeof(mkd_info);\n";

static int fake_read_file(const char *path, char **out, size_t *bytes,
			  size_t head)
{
	FILE *f = fopen(path, "r");
	struct stat st;

	if (!f || fstat(fileno(f), &st)) {
		if (f)
			fclose(f);
		return -1;
	}
	*out = calloc(1, head + (size_t)st.st_size + 1);
	*bytes = fread(*out + head, 1, (size_t)st.st_size, f);
	fclose(f);
	return 0;
}

static int compile_emulated(struct fake_program *p)
{
	const char *tree = getenv("MEGAKERNEL_SOURCE");
	char dir[] = "/tmp/mk-emulate-XXXXXX", command[1024], path[128];
	char *log = NULL;
	size_t bytes = 0;
	int r = 0;

	if (!mkdtemp(dir))
		return 6;
	for (int i = 0; i < p->headers && !r; i++)
		if (!is_system_header(p->names[i]) &&
		    strcmp(p->names[i], "device.cuh") != 0)
			r = fake_put_file(dir, p->names[i], p->texts[i], "");
	if (!r)
		r = fake_put_file(dir, "main.cc", p->source, entry);
	snprintf(command, sizeof(command),
		 "cp %s/tests/cuda/emulate.h %s/device.cuh && cd %s && "
		 "%s -std=c++17 -O1 -g -w -fPIC -shared -fvisibility=hidden "
		 "-U_FORTIFY_SOURCE -I. -iquote . main.cc -o main.so -lpthread "
		 ">log 2>&1", tree ? tree : ".", dir, dir, fake_compiler());
	if (!r)
		r = system(command);
	snprintf(path, sizeof(path), "%s/log", dir);
	if (r && !fake_read_file(path, &log, &bytes, 0))
		snprintf(p->log, sizeof(p->log), "%s", log);
	free(log);
	snprintf(path, sizeof(path), "%s/main.so", dir);
	if (!r)
		r = fake_read_file(path, &p->image, &bytes, 16);
	if (!r) {
		memcpy(p->image, "EMULATE", 8);
		memcpy(p->image + 8, &(uint64_t){ bytes }, 8);
		p->bytes = bytes + 16;
	}
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command) || r ? 6 : 0;
}

static int nvrtcCompileProgram(void *program, int n, const char *const *options)
{
	struct fake_program *p = program;
	unsigned handlers = 0;

	fake.compiles++;
	for (int i = 0; i < n; i++)
		fake.quick += strstr(options[i], "Ofast-compile=") != NULL;
	if (fake.compile_error) {
		snprintf(p->log, sizeof(p->log),
			 "module-1.c(3): error: expected a \";\"");
		return 6;
	}
	if (fake.compile_log) {
		snprintf(p->log, sizeof(p->log), "%s", fake.compile_log);
		return 6;
	}
	if (fake.kernel == FAKE_EMULATED && strstr(p->source, "mkd_"))
		return compile_emulated(p);
	for (const char *at = p->source;
	     (at = strstr(at, "\tMKD_BYTES_OF(")); at++)
		handlers++;
	p->image = calloc(1, 64);
	p->bytes = 64;
	snprintf(p->image, 64, "MONITOR %u", handlers);
	return 0;
}

static int nvrtcGetProgramLogSize(void *program, size_t *bytes)
{
	*bytes = strlen(((struct fake_program *)program)->log) + 1;
	return 0;
}

static int nvrtcGetProgramLog(void *program, char *log)
{
	strcpy(log, ((struct fake_program *)program)->log);
	return 0;
}

static int nvrtcGetCUBINSize(void *program, size_t *bytes)
{
	*bytes = ((struct fake_program *)program)->bytes;
	return 0;
}

static int nvrtcGetCUBIN(void *program, char *out)
{
	struct fake_program *p = program;

	memcpy(out, p->image, p->bytes);
	return 0;
}
