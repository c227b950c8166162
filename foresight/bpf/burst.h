/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What is known of one task's bursts: the CPU times from each wakeup to the next voluntary sleep. Their average, the features
 * of a wakeup, what the task's line makes of them, and which of both has done better. The same as in
 * foresight-model/src/burst/, to the bit.
 */
#ifndef FORESIGHT_BURST_H
#define FORESIGHT_BURST_H

#include "model.h"

/* Nothing is known of a new task: a quarter of a millisecond. */
#define FIRST_AVERAGE (18 * ONE)
/* What is subtracted from lengths that are features. */
#define LEVEL (15 * ONE)
#define MAX_FEATURE (16 * ONE)
/* How far a line may lead away from the average. */
#define MAX_DEVIATION (6 * ONE)
/* Shorter bursts are taken for this. */
#define BURST_MIN_NS 1000ULL
#define PREDICTION_MIN_NS 10000ULL
/* How many bursts a line is judged by before it is used. */
#define MIN_JUDGED 8
/* How long user space may be silent before nothing that it wrote counts. */
#define STALE_NS 2000000000ULL
/* How many bursts user space is told of in each second. */
#define SAMPLES_PER_TASK 128
#define SAMPLES_PER_SECOND 20000
#define SECOND_NS 1000000000ULL

/* Whether anything is learned, or the average is all there is. */
const volatile bool learning;

/* Written by user space: when it was last alive, and whether lines count or are only watched. */
u64 heartbeat;
u32 acting;
struct slot slots[NR_SLOTS] SEC(".data.slots");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} samples SEC(".maps");

/* How many samples there were in the second that began at `since`. */
struct budget {
	u64 since;
	u32 used;
};

/* Not static: clang takes such a struct apart, and what it says of the parts in BTF no kernel accepts. */
struct budget all_samples;

struct bursts {
	s32 last, before, average;
	s32 slept, slept_before;
	s32 average_error, line_error;
	u32 judged, count;
	s32 features[NR_FEATURES];
	s32 deviation;
	u32 flags;
	u64 slept_at;
	struct budget samples;
};

static void bursts_init(struct bursts *b)
{
	b->last = b->before = b->average = FIRST_AVERAGE;
	b->average_error = b->line_error = ONE;
}

/* Nothing is read before what was read above is there. */
static __always_inline void read_barrier(void)
{
#ifdef __TARGET_ARCH_x86
	barrier();
#else
	u64 here = 0;

	__sync_fetch_and_add(&here, 0);
#endif
}

static __always_inline s32 clamp_q16(s64 value, s32 most)
{
	return value > most ? most : value < -most ? -most : value;
}

static __always_inline s32 distance(s32 a, s32 b)
{
	return a < b ? b - a : a - b;
}

/* What the line of the task says, if it has one that nobody is writing. */
static __always_inline bool ask_line(u32 pid, const s32 *features, s32 *deviation)
{
	struct slot *slot = &slots[pid % NR_SLOTS];
	u32 version = READ_ONCE(slot->version);
	s64 sum = 0;
	int i;

	if (!version || version & 1)
		return false;
	read_barrier();
	if (READ_ONCE(slot->pid) != pid)
		return false;
	for (i = 0; i < NR_FEATURES; i++)
		sum += (s64)READ_ONCE(slot->weights[i]) * features[i];
	read_barrier();
	if (READ_ONCE(slot->version) != version)
		return false;
	*deviation = clamp_q16(sum >> 16, MAX_DEVIATION);
	return true;
}

static void look_at_wakeup(struct task_struct *p, struct bursts *b)
{
	struct task_struct *waker = bpf_get_current_task_btf();
	u64 now = bpf_ktime_get_ns();

	b->slept_before = b->slept;
	b->slept = clamp_q16(log2_q16(b->slept_at ? now - b->slept_at : 1) - LEVEL, MAX_FEATURE);
	b->features[0] = ONE;
	b->features[1] = clamp_q16(b->last - b->average, MAX_FEATURE);
	b->features[2] = clamp_q16(b->before - b->average, MAX_FEATURE);
	b->features[3] = clamp_q16(b->average - LEVEL, MAX_FEATURE);
	b->features[4] = b->slept;
	b->features[5] = b->slept_before;
	b->features[6] = waker->pid && waker->tgid == p->tgid ? ONE : 0;
	b->features[7] = waker->pid ? 0 : ONE;
	b->flags = 0;
	if (now - READ_ONCE(heartbeat) > STALE_NS || !ask_line(p->pid, b->features, &b->deviation))
		return;
	b->flags = HAD_LINE;
	if (b->judged < MIN_JUDGED || b->line_error >= b->average_error)
		return;
	b->flags |= CHOSE_LINE;
	if (READ_ONCE(acting))
		b->flags |= USED_LINE;
}

/* How long the burst that now begins is going to be. */
static u64 predict(struct task_struct *p, struct bursts *b, u64 most)
{
	s64 length = b->average;
	u64 predicted;

	if (learning) {
		look_at_wakeup(p, b);
		if (b->flags & USED_LINE)
			length += b->deviation;
	}
	predicted = exp2_q16(length);
	if (predicted > most)
		predicted = most;
	return predicted < PREDICTION_MIN_NS ? PREDICTION_MIN_NS : predicted;
}

static __always_inline bool spend(struct budget *budget, u64 now, u32 most)
{
	if (now - budget->since > SECOND_NS) {
		budget->since = now;
		budget->used = 0;
	}
	/* Of those who come at once some may be counted once: it is a limit, not an account. */
	if (budget->used >= most)
		return false;
	budget->used++;
	return true;
}

static void report(struct task_struct *p, const struct bursts *b, u64 ran, s32 length)
{
	struct burst_sample *s = bpf_ringbuf_reserve(&samples, sizeof(*s), 0);

	if (!s) {
		COUNT(lost);
		return;
	}
	s->ran = ran;
	s->pid = p->pid;
	s->flags = b->flags;
	__builtin_memcpy(s->features, b->features, sizeof(s->features));
	s->length = length;
	s->average = b->average;
	s->deviation = b->flags & HAD_LINE ? b->deviation : 0;
	__builtin_memcpy(s->name, p->comm, sizeof(s->name));
	bpf_ringbuf_submit(s, BPF_RB_NO_WAKEUP);
	COUNT(samples);
}

/* The burst is over: the line is judged by it first, and everything learned from it afterwards. */
static void end_burst(struct task_struct *p, struct bursts *b, u64 ran)
{
	s32 length = log2_q16(ran < BURST_MIN_NS ? BURST_MIN_NS : ran);
	s32 residual = length - b->average;

	COUNT(bursts);
	if (learning) {
		u64 now = bpf_ktime_get_ns();

		b->slept_at = now;
		if (b->count && spend(&b->samples, now, SAMPLES_PER_TASK) &&
		    spend(&all_samples, now, SAMPLES_PER_SECOND))
			report(p, b, ran, length);
	}
	if (!b->count) {
		b->last = b->before = b->average = length;
	} else {
		if (b->flags & HAD_LINE) {
			b->line_error += (distance(residual, b->deviation) - b->line_error) >> 5;
			b->average_error += (distance(residual, 0) - b->average_error) >> 5;
			b->judged++;
		}
		b->before = b->last;
		b->last = length;
		b->average += residual >> 2;
	}
	b->count++;
}

#endif
