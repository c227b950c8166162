/* SPDX-License-Identifier: GPL-2.0-only */
/* Arithmetic of predictions, all of it in Q16.16. Times are kept as their logarithm: what a burst is off by is a factor. */
#ifndef FORESIGHT_MODEL_H
#define FORESIGHT_MODEL_H

#define ONE (1 << 16)

/* Global functions, which the verifier walks once: five logarithms inlined are 2^30 paths to it. */

/* log2, off by at most 0.008; 0 counts as 1. */
__noinline s32 log2_q16(u64 value)
{
	u32 exponent = 0;
	u64 rest;
	s64 fraction;

	if (value < 1)
		value = 1;
	rest = value;
	if (rest >> 32) {
		exponent += 32;
		rest >>= 32;
	}
	if (rest >> 16) {
		exponent += 16;
		rest >>= 16;
	}
	if (rest >> 8) {
		exponent += 8;
		rest >>= 8;
	}
	if (rest >> 4) {
		exponent += 4;
		rest >>= 4;
	}
	if (rest >> 2) {
		exponent += 2;
		rest >>= 2;
	}
	if (rest >> 1)
		exponent += 1;
	fraction = (exponent >= 16 ? value >> (exponent - 16) : value << (16 - exponent)) - ONE;
	return (exponent << 16) + fraction + ((((fraction * (ONE - fraction)) >> 16) * 22544) >> 16);
}

/* 2^x for x from 0 to 40, off by at most 0.4 %. */
__noinline u64 exp2_q16(s64 x)
{
	u64 fraction, mantissa;
	u32 exponent;

	if (x < 0)
		x = 0;
	if (x > 40LL << 16)
		x = 40LL << 16;
	exponent = x >> 16;
	fraction = x & (ONE - 1);
	mantissa = ONE + fraction - ((((fraction * (ONE - fraction)) >> 16) * 22571) >> 16);
	return exponent >= 16 ? mantissa << (exponent - 16) : mantissa >> (16 - exponent);
}

#endif
