/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What is known of a task as far as it matters where it runs: where it waits, where it is at home, who woke it; and of
 * what waits at each LLC. What is decided by that is in moves.h.
 */
#ifndef FORESIGHT_WAITS_H
#define FORESIGHT_WAITS_H

#include "burst.h"

/* How much of its past says where a task is at home. */
#define HOME_NS SECOND_NS

/* What waits in the queue of an LLC. */
struct waiting {
	u64 load;	/* what it is predicted to run, in all */
	u64 foreign;	/* how many of them are at home in another */
	u64 pad[6];
} waiting[MAX_LLCS];

/* The lowest byte of `decided`. The next are enum move_flags, and then, from 1, the CPU that decides. */
enum decided {
	MOVE_OPEN,
	MOVE_BEING_DECIDED,
	MOVE_GOES,
	MOVE_STAYS,
	MOVE_STAYED,	/* for as long as anybody may be kept */
};

#define DECIDED_STATE 0xff
#define DECIDED_FLAGS 8
#define DECIDED_CPU 16

/* What a network is asked, and what it says. */
struct question {
	s32 features[NR_INPUTS];
	u32 version;
	u32 goes;
};

/* What is known of one task, and of the decision on it that has not been reported yet. */
struct moving {
	u64 waits_since;	/* 0: it does not */
	u64 stopped_at;
	u64 faults;		/* all so far, when the last burst ended */
	u64 last_faults;	/* those of that */
	u64 home_ns;
	u64 load;		/* what it counts for where it waits */
	u32 home;
	u32 queue;		/* the LLC where it waits, from 1; 0: none */
	u32 foreign;
	u32 waker;		/* the LLC of who woke it and has to do with it, from 1; 0: none */
	u32 vetoes;		/* since it woke */
	u32 decided;		/* in one word, so that what is told of a decision is what was done */
	u64 at, waited, ran_before, predicted;
	u32 flags;
	u32 began;
	struct question question;
};

static u32 decided_state(const struct moving *m)
{
	return READ_ONCE(m->decided) & DECIDED_STATE;
}

static void leave_queue(struct moving *m)
{
	u32 llc = m->queue - 1;

	if (!m->queue)
		return;
	m->queue = 0;
	if (llc >= MAX_LLCS)
		return;
	__sync_fetch_and_add(&waiting[llc].load, -m->load);
	if (m->foreign)
		__sync_fetch_and_add(&waiting[llc].foreign, -1);
}

/* The task is about to wait at `llc` for so much CPU time. */
static void enter_queue(struct moving *m, u32 llc, u64 want)
{
	leave_queue(m);
	if (!m->waits_since)
		m->waits_since = bpf_ktime_get_ns();
	if (llc >= MAX_LLCS)
		return;
	m->queue = llc + 1;
	m->load = want;
	m->foreign = m->home_ns && m->home != llc;
	__sync_fetch_and_add(&waiting[llc].load, want);
	if (m->foreign)
		__sync_fetch_and_add(&waiting[llc].foreign, 1);
}

/* Whoever wakes it is running on this CPU. */
static void note_waker(const struct task_struct *p, struct moving *m, u32 llc, bool waits)
{
	struct task_struct *waker = bpf_get_current_task_btf();

	m->vetoes = 0;
	m->waker = waits || (waker->pid && waker->tgid == p->tgid) ? llc + 1 : 0;
}

/* It stops after it has run at `llc` for `used`. */
static void note_home(struct moving *m, u32 llc, u64 used, u64 now)
{
	m->stopped_at = now;
	if (m->home == llc) {
		m->home_ns += used;
	} else if (m->home_ns >= used) {
		m->home_ns -= used;
	} else {
		m->home_ns = used - m->home_ns;
		m->home = llc;
	}
	if (m->home_ns > HOME_NS)
		m->home_ns = HOME_NS;
}

/* Its burst is over. */
static void note_faults(const struct task_struct *p, struct moving *m)
{
	u64 faults = p->min_flt + p->maj_flt;

	m->last_faults = faults - m->faults;
	m->faults = faults;
}

#endif
