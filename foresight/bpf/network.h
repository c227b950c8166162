/* SPDX-License-Identifier: GPL-2.0-only */
/* The arithmetic of the network for moves, the same as in foresight-model/src/quantise.rs to the bit. */
#ifndef FORESIGHT_NETWORK_H
#define FORESIGHT_NETWORK_H

#include "intf.h"
#include "model.h"

/* The value, of which the compiler is to know nothing: it makes branches of what has none. */
static inline s64 kept_apart(s64 value)
{
	asm("" : "+r"(value));
	return value;
}

/* What a hidden unit says, from 0 to FM_MAX_UNIT. Of branches the verifier would follow both ways, for each unit. */
static inline s64 hidden(s64 sum)
{
	s64 unit = sum >> 16, above;

	unit &= ~kept_apart(unit >> 63);
	above = unit - FM_MAX_UNIT;
	return FM_MAX_UNIT + (above & kept_apart(above >> 63));
}

/* The answer. With weights and features within their bounds nothing overflows. */
static inline s64 network_logit(const struct network *n, const s32 *features)
{
	s64 sum = (s64)n->b2 << 16;
	int i, j;

	for (i = 0; i < NR_HIDDEN; i++) {
		s64 unit = (s64)n->b1[i] << 16;

		for (j = 0; j < NR_INPUTS; j++)
			unit += (s64)n->w1[i][j] * features[j];
		sum += n->w2[i] * hidden(unit);
	}
	return sum >> 16;
}

/* Whether the task goes. */
static inline bool network_moves(const struct network *n, s64 logit)
{
	return logit > n->threshold;
}

/* What is counted of an LLC, per CPU of it. */
static inline s32 per_cpu_q16(u64 count, u32 cpus)
{
	const u64 most = FM_MAX_FEATURE * FM_ONE;
	u64 share = (count << 16) / (cpus ? cpus : 1);

	return share > most ? most : share;
}

/* A logarithm, less a whole number, as a feature. */
static inline s32 level_q16(u64 value, u32 level)
{
	return clamp_q16((s64)log2_q16(value) - (s64)(level << 16), FM_MAX_FEATURE * FM_ONE);
}

#endif
