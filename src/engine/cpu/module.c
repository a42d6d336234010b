/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/cpu/module.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/error.h"
#include "module/image.h"
#include "module/table.h"

struct mk_cpu_module {
	struct mk_cpu_module *next;
	uint32_t id;
	int fd;        /* of a loaded image; -1: linked in */
	void *library;
	const struct mk_module_table *table;
};

/* The loader knows an object by the name it was loaded under. */
static void name_of(int fd, char *name, size_t room)
{
	snprintf(name, room, "/proc/self/fd/%d", fd);
}

/*
 * The descriptor outlives the object: were its number free while the object
 * is still loaded, the next module could get it, and dlopen would return the
 * old object for the same name. An object that dlclose does not unload keeps
 * its descriptor for ever.
 */
static void unload(struct mk_cpu_module *m)
{
	char name[32];
	void *still;

	if (m->fd < 0)
		return;
	if (m->library)
		dlclose(m->library);
	name_of(m->fd, name, sizeof(name));
	still = dlopen(name, RTLD_LAZY | RTLD_NOLOAD);
	if (still)
		dlclose(still);
	else
		close(m->fd);
	m->library = NULL;
	m->fd = -1;
}

/* Looked at before it is loaded: loading runs its constructors, and the
 * loader trusts the file's offsets. */
static int check_image(int fd, const char *what, struct mk_handler_info *out,
		       unsigned max)
{
	struct mk_image_view view;
	unsigned count;
	int rc = mk_image_map(fd, &view);

	if (rc)
		return rc;
	rc = mk_image_handlers(&view, what, out, max, &count);
	mk_image_unmap(&view);
	return rc;
}

static int load(struct mk_cpu_module *m, int fd, const char *what)
{
	char name[32];
	const char *why;

	m->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (m->fd < 0)
		return mk_error_set(-errno, errno, "mk_module_load",
				    "duplicating the descriptor of %s: %s",
				    what, mk_strerror(errno));
	name_of(m->fd, name, sizeof(name));
	m->library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
	if (!m->library) {
		why = dlerror();
		return mk_error_set(-MK_EMODULE, 0, "mk_module_load",
				    "%s cannot be loaded: %s", what,
				    why ? why : "no reason given");
	}
	m->table = dlsym(m->library, "mk_module_table");
	if (!m->table)
		return mk_error_set(-MK_EMODULE, 0, "mk_module_load",
				    "%s has no table of handlers "
				    "(mk_module_table): compile it with "
				    "mk_module_compile()", what);
	return 0;
}

static int read_table(const struct mk_module_table *t, const char *what,
		      struct mk_handler_info *out, unsigned max,
		      unsigned *count)
{
	uint64_t n;
	int rc;

	if (t->abi != MK_ABI_VERSION || t->fingerprint != MK_FINGERPRINT)
		return mk_error_set(-MK_EMODULE, 0, "mk_module_load",
				    "%s was compiled for ABI version %u, "
				    "fingerprint %08x; this engine has %u, "
				    "%08x: compile it again", what, t->abi,
				    t->fingerprint, MK_ABI_VERSION,
				    (unsigned)MK_FINGERPRINT);
	n = t->first <= t->end ? (uint64_t)(t->end - t->first) : 0;
	rc = mk_table_copy(t->first, n, what, out, max);
	if (!rc)
		rc = mk_table_check(out, (unsigned)n, what);
	for (uint64_t i = 0; !rc && i < n; i++)
		if (!t->first[i].run)
			rc = mk_error_set(-MK_EMODULE, 0, "mk_module_load",
					  "%s: handler %s has no function",
					  what, t->first[i].name);
	if (!rc)
		*count = (unsigned)n;
	return rc;
}

int mk_cpu_modules_init(struct mk_cpu_modules *m)
{
	m->first = NULL;
	return 0;
}

static struct mk_cpu_module **find(struct mk_cpu_modules *m, uint32_t id)
{
	struct mk_cpu_module **at = &m->first;

	while (*at && (*at)->id != id)
		at = &(*at)->next;
	return at;
}

int mk_cpu_module_open(struct mk_cpu_modules *ms,
		       const struct mk_module_desc *desc,
		       struct mk_handler_info *out, unsigned max,
		       unsigned *count)
{
	struct mk_cpu_module *m;
	char what[32];
	unsigned n = 0;
	int rc = 0;

	snprintf(what, sizeof(what), "module %u", desc->id);
	if (!desc->id || *find(ms, desc->id))
		return mk_error_set(-EINVAL, 0, "mk_module_load",
				    "the module's id is %u, which is 0 or in "
				    "use", desc->id);
	m = calloc(1, sizeof(*m));
	if (!m)
		return mk_error_set(-ENOMEM, ENOMEM, "mk_module_load",
				    "no memory for a module");
	m->id = desc->id;
	m->fd = -1;
	m->table = desc->table;
	if (!m->table)
		rc = check_image(desc->fd, what, out, max);
	if (!rc && !m->table)
		rc = load(m, desc->fd, what);
	if (!rc)
		rc = read_table(m->table, what, out, max, &n);
	if (rc) {
		unload(m);
		free(m);
		return rc;
	}
	for (unsigned i = 0; i < n; i++)
		out[i].module = m->id;
	m->next = ms->first;
	ms->first = m;
	*count = n;
	return 0;
}

const struct mk_handler_entry *
mk_cpu_module_entry(struct mk_cpu_modules *ms, uint32_t id, const char *name)
{
	const struct mk_cpu_module *m = *find(ms, id);
	const struct mk_handler_entry *entry;

	if (!m)
		return NULL;
	for (entry = m->table->first; entry < m->table->end; entry++)
		if (!strcmp(entry->name, name))
			return entry;
	return NULL;
}

int mk_cpu_module_close(struct mk_cpu_modules *ms, uint32_t id)
{
	struct mk_cpu_module **at = find(ms, id), *m = *at;

	if (!m)
		return mk_error_set(-ENOENT, 0, "mk_module_unload",
				    "no module has the id %u", id);
	*at = m->next;
	unload(m);
	free(m);
	return 0;
}

void mk_cpu_modules_fini(struct mk_cpu_modules *ms)
{
	while (ms->first)
		mk_cpu_module_close(ms, ms->first->id);
}
