/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The arithmetic of predictions, the same as in foresight-model/src/burst/ to the bit: nothing here asks the kernel for
 * anything. Numbers are Q16.16; lengths are kept as their logarithm, as what a prediction is off by is a factor.
 */
#ifndef FORESIGHT_MODEL_H
#define FORESIGHT_MODEL_H

#include "../../foresight-model/include/foresight_model.h"

/* Global functions, which the verifier walks once: five logarithms inlined are 2^30 paths to it. */

/* log2; 0 counts as 1. */
__attribute__((noinline)) s32 log2_q16(u64 value)
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
	fraction = (exponent >= 16 ? value >> (exponent - 16) : value << (16 - exponent)) - FM_ONE;
	return (exponent << 16) + fraction +
	       ((((fraction * (FM_ONE - fraction)) >> 16) * FM_LOG2_BEND) >> 16);
}

/* 2^exponent, for exponents from 0 to FM_MAX_EXPONENT. */
__attribute__((noinline)) u64 exp2_q16(s64 exponent)
{
	s64 fraction;
	u64 mantissa;
	u32 whole;

	if (exponent < 0)
		exponent = 0;
	if (exponent > (s64)FM_MAX_EXPONENT << 16)
		exponent = (s64)FM_MAX_EXPONENT << 16;
	whole = exponent >> 16;
	fraction = exponent & (FM_ONE - 1);
	mantissa = FM_ONE + fraction - ((((fraction * (FM_ONE - fraction)) >> 16) * FM_EXP2_BEND) >> 16);
	return whole >= 16 ? mantissa << (whole - 16) : mantissa >> (16 - whole);
}

static inline s32 clamp_q16(s64 value, s32 most)
{
	return value > most ? most : value < -most ? -most : value;
}

/* What is known of one task's bursts: the CPU times from each wakeup to the next voluntary sleep. */
struct bursts {
	s32 last, before, average;
	s32 slept, slept_before;
	s32 average_error, line_error;
	u32 judged, count;
};

static inline void bursts_init(struct bursts *b)
{
	b->last = b->before = b->average = FM_FIRST_AVERAGE;
	b->average_error = b->line_error = FM_ONE;
}

/* The features of a wakeup, each wakeup once. */
static inline void bursts_wake(struct bursts *b, u64 slept_ns, bool own_process, bool from_idle, s32 *features)
{
	const s32 most = FM_MAX_FEATURE * FM_ONE, level = FM_LEVEL * FM_ONE;

	b->slept_before = b->slept;
	b->slept = clamp_q16(log2_q16(slept_ns) - level, most);
	features[0] = FM_ONE;
	features[1] = clamp_q16(b->last - b->average, most);
	features[2] = clamp_q16(b->before - b->average, most);
	features[3] = clamp_q16(b->average - level, most);
	features[4] = b->slept;
	features[5] = b->slept_before;
	features[6] = own_process ? FM_ONE : 0;
	features[7] = from_idle ? FM_ONE : 0;
}

/* Whether the line is used: it was judged often enough, and did better than the average. */
static inline bool bursts_use_line(const struct bursts *b)
{
	return b->judged >= FM_MIN_JUDGED && b->line_error < b->average_error;
}

static inline s32 distance(s32 a, s32 b)
{
	return a < b ? b - a : a - b;
}

/* The burst is over, for which the line, if there was one, said `deviation`: it is judged first. Returns its length. */
static inline s32 bursts_end(struct bursts *b, u64 ran_ns, bool had_line, s32 deviation)
{
	s32 length = log2_q16(ran_ns < FM_MIN_BURST_NS ? FM_MIN_BURST_NS : ran_ns);
	s32 residual = length - b->average;

	if (!b->count) {
		b->last = b->before = b->average = length;
	} else {
		if (had_line) {
			b->line_error += (distance(residual, deviation) - b->line_error) >> FM_ERROR_SHIFT;
			b->average_error += (distance(residual, 0) - b->average_error) >> FM_ERROR_SHIFT;
			b->judged++;
		}
		b->before = b->last;
		b->last = length;
		b->average += residual >> FM_AVERAGE_SHIFT;
	}
	b->count++;
	return length;
}

/* What a line says: how far from the average the burst is going to be. `sum` is that of weights times features. */
static inline s32 deviation_of(s64 sum)
{
	return clamp_q16(sum >> 16, FM_MAX_DEVIATION * FM_ONE);
}

static inline u64 predict_ns(s32 average, s32 deviation, u64 slice_max_ns)
{
	u64 predicted = exp2_q16((s64)average + clamp_q16(deviation, FM_MAX_DEVIATION * FM_ONE));

	if (predicted > slice_max_ns)
		predicted = slice_max_ns;
	return predicted < FM_MIN_PREDICTION_NS ? FM_MIN_PREDICTION_NS : predicted;
}

/* The CPU time after which a task's deadline is: what is left of its prediction. Who outlives that asks for all there is. */
static inline u64 want_ns(u64 predicted_ns, u64 ran_ns, u64 slice_max_ns)
{
	u64 left = predicted_ns > ran_ns ? predicted_ns - ran_ns : slice_max_ns;

	return left < slice_max_ns ? left : slice_max_ns;
}

/* How long it may run at once, for this `want_ns`. */
static inline u64 slice_for(u64 want_ns, u64 slice_max_ns)
{
	u64 slice = want_ns * 2 < slice_max_ns ? want_ns * 2 : slice_max_ns;

	return slice < FM_SLICE_MIN_NS ? FM_SLICE_MIN_NS : slice;
}

/* The virtual time after so much CPU time. */
static inline u64 charge(u64 vtime, u64 used_ns, u32 weight)
{
	return vtime + used_ns * 100 / weight;
}

static inline bool is_before(u64 a, u64 b)
{
	return (s64)(a - b) < 0;
}

/* The virtual time of a task, or its deadline, as far behind or ahead of that of all as it may be. */
static inline u64 bound(u64 vtime, u64 now)
{
	u64 least = now - FM_LAG_NS, most = now + FM_LEAD_NS;

	if (is_before(vtime, least))
		return least;
	return is_before(most, vtime) ? most : vtime;
}

/* Whether who is woken takes the CPU from who runs. */
static inline bool preempts(u64 deadline, u64 running)
{
	return is_before(deadline + FM_PREEMPT_NS, running);
}

#endif
