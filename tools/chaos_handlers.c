/* SPDX-License-Identifier: Apache-2.0 */
/* What the slots of `megakernel chaos` do: as source for the engine, and as
 * functions to compare the answers with. */
#include "chaos.h"

/* The structs are those of chaos.h. */
const char chaos_work_source[] =
	"#include <megakernel/handler.h>\n"
	"struct mix { struct mk_ref table; uint32_t offset, bytes;\n"
	"	     uint64_t key; };\n"
	"MK_HANDLER(chaos_mix, struct mix)\n"
	"{\n"
	"	const unsigned char *p = (const unsigned char *)mk_read_at(\n"
	"		task, args->table, args->offset, args->bytes);\n"
	"	uint64_t sum = args->key;\n"
	"	if (!p)\n"
	"		return mk_fail(task);\n"
	"	for (uint32_t i = 0; i < args->bytes; i++)\n"
	"		sum = (sum ^ p[i]) * 0x100000001b3ull;\n"
	"	mk_value(task, sum);\n"
	"	return MK_OK;\n"
	"}\n"
	"struct mark { uint64_t key; uint32_t word, turns; };\n"
	"MK_HANDLER(chaos_mark, struct mark)\n"
	"{\n"
	"	uint64_t *word = mk_observable(task, args->word);\n"
	"	volatile uint64_t x = args->key;\n"
	"	if (!word)\n"
	"		return mk_fail(task);\n"
	"	if (!mk_lane(task))\n"
	"		mk_fetch_add(word, 1);\n"
	"	for (uint32_t i = 0; i < args->turns; i++)\n"
	"		x = x * 6364136223846793005ull + 1442695040888963407ull;\n"
	"	mk_value(task, args->key * 0x9e3779b97f4a7c15ull);\n"
	"	return MK_OK;\n"
	"}\n";

const char chaos_twist_source[] =
	"#include <megakernel/handler.h>\n"
	"struct twist { uint64_t a, b; };\n"
	"MK_HANDLER(chaos_twist, struct twist)\n"
	"{\n"
	"	uint64_t x = args->a * 0xff51afd7ed558ccdull;\n"
	"	x ^= x >> 29;\n"
	"	mk_value(task, x + args->b);\n"
	"	return MK_OK;\n"
	"}\n";

/*
 * Faults. Each notes first that it begins, so that it can be seen to have run.
 * What the compiler must not see through goes by a volatile. Nothing of the C
 * library is included: a declaration serves, and a cross check needs no more.
 */
#define FAULT_HEAD \
	"#include <megakernel/handler.h>\n" \
	"struct fault { uint32_t word, reserved; uint64_t noise; };\n" \
	"MK_FN volatile uint64_t *begin(struct mk_task *task,\n" \
	"			       const struct fault *args)\n" \
	"{\n" \
	"	uint64_t *word = mk_observable(task, args->word);\n" \
	"	if (word && !mk_lane(task))\n" \
	"		mk_fetch_add(word, 1);\n" \
	"	return word;\n" \
	"}\n"

const char chaos_fault_source[] =
	FAULT_HEAD
	"MK_HANDLER(chaos_illegal, struct fault)\n"
	"{\n"
	"	static const uint64_t bad[4] = { 64, 0x7ffffffff008ull,\n"
	"		0x8000000000000000ull, 0xffffffffffffe000ull };\n"
	"	volatile uint64_t at = bad[args->noise % 4];\n"
	"	if (!begin(task, args))\n"
	"		return mk_fail(task);\n"
	"	*(volatile uint32_t *)(uintptr_t)at = 1;\n"
	"	return MK_OK;\n"
	"}\n"
	"MK_HANDLER(chaos_trap, struct fault)\n"
	"{\n"
	"	if (!begin(task, args))\n"
	"		return mk_fail(task);\n"
	"#if MK_CUDA\n"
	"	asm volatile(\"trap;\");\n"
	"#else\n"
	"	__builtin_trap();\n"
	"#endif\n"
	"	return MK_OK;\n"
	"}\n"
	"MK_HANDLER(chaos_hang, struct fault)\n"
	"{\n"
	"	volatile uint64_t *word = begin(task, args);\n"
	"	uint64_t sum = 0;\n"
	"	if (!word)\n"
	"		return mk_fail(task);\n"
	"	while (*word != ~0ull)\n"
	"		sum += *word;\n"
	"	return (int32_t)(sum & 1);\n"
	"}\n"
	"MK_HANDLER(chaos_poll, struct fault)\n"
	"{\n"
	"	volatile uint64_t *word = begin(task, args);\n"
	"	if (!word)\n"
	"		return mk_fail(task);\n"
	"	while (*word != ~0ull)\n"
	"		if (mk_cancelled(task))\n"
	"			return -MK_ECANCELLED;\n"
	"	return MK_OK;\n"
	"}\n";

/* Those that a GPU has no such thing of. */
const char chaos_cpu_source[] =
	FAULT_HEAD
	"__attribute__((noreturn)) void abort(void);\n"
	"__attribute__((noreturn)) void _exit(int);\n"
	"void *malloc(__SIZE_TYPE__);\n"
	"void free(void *);\n"
	"int open(const char *, int, ...);\n"
	"int dup2(int, int);\n"
	"static volatile int zero;\n"
	"static void quiet(void)\n"
	"{\n"
	"	dup2(open(\"/dev/null\", 1), 2);\n"
	"}\n"
	"MK_HANDLER(chaos_crash, struct fault)\n"
	"{\n"
	"	volatile uint64_t at = args->noise % 4096;\n"
	"	if (!begin(task, args))\n"
	"		return mk_fail(task);\n"
	"	*(volatile unsigned char *)(uintptr_t)at = 1;\n"
	"	return MK_OK;\n"
	"}\n"
	"MK_HANDLER(chaos_abort, struct fault)\n"
	"{\n"
	"	if (!begin(task, args))\n"
	"		return mk_fail(task);\n"
	"	quiet();\n"
	"	abort();\n"
	"}\n"
	"MK_HANDLER(chaos_divide, struct fault)\n"
	"{\n"
	"	if (!begin(task, args))\n"
	"		return mk_fail(task);\n"
	"#if defined(__x86_64__)\n"
	"	return (int)args->noise / zero;\n"
	"#else\n"
	"	__builtin_trap();\n" /* where a division by 0 is no fault */
	"#endif\n"
	"}\n"
	"MK_HANDLER(chaos_exit, struct fault)\n"
	"{\n"
	"	if (!begin(task, args))\n"
	"		return mk_fail(task);\n"
	"	_exit((int)(args->noise % 3));\n"
	"}\n"
	"static uint64_t deeper(volatile unsigned char *above, uint64_t n);\n"
	"static uint64_t (*volatile next)(volatile unsigned char *, uint64_t)\n"
	"	= deeper;\n"
	"static uint64_t deeper(volatile unsigned char *above, uint64_t n)\n"
	"{\n"
	"	volatile unsigned char frame[2048];\n"
	"	frame[0] = above[0];\n"
	"	return n ? next(frame, n - 1) + frame[0] : 0;\n"
	"}\n"
	/* most of the stack's pages come before the fault, whose time counts */
	"MK_HANDLER(chaos_overflow, struct fault)\n"
	"{\n"
	"	volatile unsigned char top = 1;\n"
	"	uint64_t *ready = mk_observable(task, args->word + 1);\n"
	"	uint64_t sum;\n"
	"	if (!begin(task, args) || !ready)\n"
	"		return mk_fail(task);\n"
	"	sum = deeper(&top, 3600);\n"
	"	mk_fetch_add(ready, 1);\n"
	"	return (int32_t)(sum + deeper(&top, ~0ull));\n"
	"}\n"
	"MK_HANDLER(chaos_scribble, struct fault)\n"
	"{\n"
	"	unsigned char *volatile p = (unsigned char *)malloc(100);\n"
	"	if (!begin(task, args) || !p)\n"
	"		return mk_fail(task);\n"
	"	quiet();\n"
	"	for (int i = -16; i < 0; i++)\n"
	"		((volatile unsigned char *)p)[i] = 0xa5;\n"
	"	free(p);\n"
	"	abort();\n" /* an allocator that did not notice */
	"}\n";

uint64_t chaos_model_mix(const unsigned char *table, uint32_t offset,
			 uint32_t bytes, uint64_t key)
{
	uint64_t sum = key;

	for (uint32_t i = 0; i < bytes; i++)
		sum = (sum ^ table[offset + i]) * 0x100000001b3u;
	return sum;
}

uint64_t chaos_model_twist(uint64_t a, uint64_t b)
{
	uint64_t x = a * 0xff51afd7ed558ccdu;

	x ^= x >> 29;
	return x + b;
}

uint64_t chaos_model_mark(uint64_t key)
{
	return key * 0x9e3779b97f4a7c15u;
}
