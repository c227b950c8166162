/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Predicts the bursts of tasks: takes what a wakeup tells from the kernel, asks the line that user space fitted to the task,
 * and reports each burst that ended. The arithmetic is in model.h.
 */
#ifndef FORESIGHT_BURST_H
#define FORESIGHT_BURST_H

#include "model.h"

/* How long user space may be silent before nothing that it wrote counts. */
#define STALE_NS 2000000000ULL
/* How many bursts it is told of in each second. */
#define SAMPLES_PER_TASK 128
#define SAMPLES_PER_SECOND 20000
#define SECOND_NS 1000000000ULL

/* Whether anything is learned, or the average is all there is. */
const volatile bool learning;

/* Written by user space: when it was last alive, and what counts of what it wrote (enum acting). */
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

/* What is known of one task, and of its burst that is under way. */
struct foresight {
	struct bursts bursts;
	s32 features[NR_FEATURES];
	s32 deviation;
	u32 flags;
	u64 slept_at;
	struct budget samples;
};

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
	*deviation = deviation_of(sum);
	return true;
}

static void look_at_wakeup(struct task_struct *p, struct foresight *f)
{
	struct task_struct *waker = bpf_get_current_task_btf();
	u64 now = bpf_ktime_get_ns();
	bool from_idle = !waker->pid;

	bursts_wake(&f->bursts, f->slept_at ? now - f->slept_at : 1, !from_idle && waker->tgid == p->tgid,
		    from_idle, f->features);
	f->flags = 0;
	if (now - READ_ONCE(heartbeat) > STALE_NS || !ask_line(p->pid, f->features, &f->deviation))
		return;
	f->flags = HAD_LINE;
	if (!bursts_use_line(&f->bursts))
		return;
	f->flags |= CHOSE_LINE;
	if (READ_ONCE(acting) & ACTS_ON_LINES)
		f->flags |= USED_LINE;
}

/* How long the burst that now begins is going to be. */
static u64 predict(struct task_struct *p, struct foresight *f, u64 slice_max_ns)
{
	s32 deviation = 0;

	if (learning) {
		look_at_wakeup(p, f);
		if (f->flags & USED_LINE)
			deviation = f->deviation;
	}
	return predict_ns(f->bursts.average, deviation, slice_max_ns);
}

static __always_inline bool spend(struct budget *budget, u64 now, u32 most)
{
	if (now - budget->since > SECOND_NS) {
		budget->since = now;
		budget->used = 0;
	}
	/* Several that come at once may count as one: it is a limit, not an account. */
	if (budget->used >= most)
		return false;
	budget->used++;
	return true;
}

static void report(struct task_struct *p, const struct foresight *f, u64 now, u64 ran, s32 average, s32 length)
{
	struct burst_sample *s = bpf_ringbuf_reserve(&samples, sizeof(*s), 0);

	if (!s) {
		COUNT(lost);
		return;
	}
	s->at = now;
	s->ran = ran;
	s->pad = 0;
	s->pid = p->pid;
	s->flags = f->flags;
	__builtin_memcpy(s->features, f->features, sizeof(s->features));
	s->length = length;
	s->average = average;
	s->deviation = f->flags & HAD_LINE ? f->deviation : 0;
	__builtin_memcpy(s->name, p->comm, sizeof(s->name));
	bpf_ringbuf_submit(s, BPF_RB_NO_WAKEUP);
	COUNT(samples);
}

static void end_burst(struct task_struct *p, struct foresight *f, u64 ran, u64 now)
{
	s32 average = f->bursts.average, length;
	bool is_first = !f->bursts.count;

	COUNT(bursts);
	length = bursts_end(&f->bursts, ran, learning && f->flags & HAD_LINE, f->deviation);
	if (!learning)
		return;
	f->slept_at = now;
	if (!is_first && spend(&f->samples, now, SAMPLES_PER_TASK) && spend(&all_samples, now, SAMPLES_PER_SECOND))
		report(p, f, now, ran, average, length);
}

#endif
