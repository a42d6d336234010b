/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The handlers of a shared object, read from its section table. Every offset
 * in the file is hostile until it was checked against the file's size.
 */
#include <elf.h>
#include <string.h>

#include "base/error.h"
#include "module/image.h"
#include "module/table.h"

#if defined(__x86_64__)
#define MACHINE EM_X86_64
#define TARGET "x86_64"
#elif defined(__aarch64__)
#define MACHINE EM_AARCH64
#define TARGET "aarch64"
#else
#error "libmegakernel is for x86-64 and arm64"
#endif

const char *mk_image_target(void)
{
	return TARGET;
}

static int refuse(const char *what, const char *why)
{
	return mk_error_set(-MK_EMODULE, 0, "mk_module_load", "%s: %s", what,
			    why);
}

/* `count` structs of `size` bytes at `offset`, or NULL. */
static const void *at(const struct mk_image_view *view, uint64_t offset,
		      uint64_t count, uint64_t size)
{
	if (offset % 8 || offset > view->bytes ||
	    count > (view->bytes - offset) / size)
		return NULL;
	return view->base + offset;
}

static int check_header(const Elf64_Ehdr *h, const char *what)
{
	if (memcmp(h->e_ident, ELFMAG, SELFMAG) != 0)
		return refuse(what, "the image is not a shared object");
	if (h->e_ident[EI_CLASS] != ELFCLASS64 ||
	    h->e_ident[EI_DATA] != ELFDATA2LSB || h->e_machine != MACHINE)
		return refuse(what, "the image is not for this machine, which "
				    "is " TARGET);
	if (h->e_type != ET_DYN)
		return refuse(what, "the image is not a shared object");
	if (h->e_shentsize != sizeof(Elf64_Shdr) || !h->e_shnum ||
	    h->e_shstrndx >= h->e_shnum)
		return refuse(what, "the image has no section table");
	return 0;
}

/* The section of this name, or NULL; *broken if the table is damaged. */
static const Elf64_Shdr *find_section(const struct mk_image_view *view,
				      const Elf64_Ehdr *h, const char *name,
				      bool *broken)
{
	const Elf64_Shdr *section, *strings;
	const char *text;
	size_t bytes = strlen(name) + 1;

	*broken = true;
	section = at(view, h->e_shoff, h->e_shnum, sizeof(*section));
	if (!section)
		return NULL;
	strings = &section[h->e_shstrndx];
	if (strings->sh_type != SHT_STRTAB ||
	    strings->sh_offset > view->bytes ||
	    strings->sh_size > view->bytes - strings->sh_offset)
		return NULL;
	text = (const char *)view->base + strings->sh_offset;
	*broken = false;
	for (unsigned i = 0; i < h->e_shnum; i++)
		if (section[i].sh_name < strings->sh_size &&
		    strings->sh_size - section[i].sh_name >= bytes &&
		    !memcmp(text + section[i].sh_name, name, bytes))
			return &section[i];
	return NULL;
}

int mk_image_handlers(const struct mk_image_view *view, const char *what,
		      struct mk_handler_info *out, unsigned max,
		      unsigned *count)
{
	const struct mk_handler_entry *entry = NULL;
	const Elf64_Ehdr *h = at(view, 0, 1, sizeof(*h));
	const Elf64_Shdr *s;
	uint64_t n = 0;
	bool broken;
	int rc;

	if (!h)
		return refuse(what, "the image is cut short");
	rc = check_header(h, what);
	if (rc)
		return rc;
	s = find_section(view, h, "mk_handlers", &broken);
	if (broken)
		return refuse(what, "the image's section table is damaged");
	if (s) {
		n = s->sh_size / sizeof(*entry);
		entry = at(view, s->sh_offset, n, sizeof(*entry));
		if (s->sh_type != SHT_PROGBITS || !entry ||
		    s->sh_size % sizeof(*entry))
			return refuse(what, "the image's handler section is "
					    "damaged");
	}
	rc = mk_table_copy(entry, n, what, out, max);
	if (!rc)
		rc = mk_table_check(out, (unsigned)n, what);
	if (!rc)
		*count = (unsigned)n;
	return rc;
}
