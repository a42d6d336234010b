/* SPDX-License-Identifier: Apache-2.0 */
/*
 * C11 words and calls that C++, or a device compiler without a C library,
 * spells otherwise or lacks. Stands before the sources of modules, which are
 * C: see megakernel/handler.h.
 */
#ifndef MK_CUDA_DIALECT_CUH
#define MK_CUDA_DIALECT_CUH

#define _Alignas(what) alignas(what)
#define _Alignof(what) alignof(what)
#define _Bool bool
#define _Noreturn [[noreturn]]
#define _Static_assert static_assert
#define restrict __restrict__

#if MK_CUDA
#ifndef NULL
#define NULL 0
#endif

#define INFINITY __int_as_float(0x7f800000)
#define NAN __int_as_float(0x7fffffff)
#define FLT_EPSILON 1.1920928955078125e-7f
#define FLT_MAX 3.40282346638528859812e38f
#define FLT_MIN 1.17549435082228750797e-38f
#define DBL_EPSILON 2.2204460492503130808e-16
#define DBL_MAX 1.79769313486231570815e308
#define DBL_MIN 2.22507385850720138309e-308

/* memcpy, memset and assert are the compiler's own */
MK_FN int memcmp(const void *a, const void *b, size_t bytes)
{
	const unsigned char *p = (const unsigned char *)a;
	const unsigned char *q = (const unsigned char *)b;

	for (size_t i = 0; i < bytes; i++)
		if (p[i] != q[i])
			return p[i] < q[i] ? -1 : 1;
	return 0;
}

MK_FN void *memmove(void *to, const void *from, size_t bytes)
{
	unsigned char *p = (unsigned char *)to;
	const unsigned char *q = (const unsigned char *)from;

	if (p < q)
		for (size_t i = 0; i < bytes; i++)
			p[i] = q[i];
	else
		for (size_t i = bytes; i > 0; i--)
			p[i - 1] = q[i - 1];
	return to;
}

MK_FN size_t strlen(const char *text)
{
	size_t n = 0;

	while (text[n])
		n++;
	return n;
}
#endif

#endif
