/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * For how long a task is kept where it waits: the timer of each LLC by which that ends, and what is counted of it. Who is
 * kept is decided in moves.h.
 */
#ifndef FORESIGHT_KEPT_H
#define FORESIGHT_KEPT_H

#include "waits.h"

/* For how long at most, from when the task began to wait. */
#define VETO_NS 2000000ULL
/* How many CPUs are woken at once for who was kept. */
#define MAX_KICKS 8
/* How many that wait the timer looks at. */
#define MAX_LOOKED 64

struct llc_ctx {
	struct bpf_timer timer;
	struct bpf_cpumask __kptr *cpus;
	u64 due;	/* when the timer is to fire; 0: it is not */
	u64 swept;	/* when it last fired and looked at all that waited */
	u64 began;	/* when it last fired */
	u64 done;	/* and was done: until then it could not fire again */
	u32 looked;	/* at how many it has looked */
	u32 kicked;	/* for how many it has looked for an idle CPU */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_LLCS);
	__type(key, u32);
	__type(value, struct llc_ctx);
} llcs SEC(".maps");

/* In main.bpf.c. */
static struct moving *moving_of(struct task_struct *p);

static struct llc_ctx *llc_ctx_of(u32 llc)
{
	return bpf_map_lookup_elem(&llcs, &llc);
}

/* Nothing else would tell the CPU that was refused that the time is over. */
__attribute__((noinline)) int arm(u32 llc, u64 due, u64 now)
{
	struct llc_ctx *c = llc_ctx_of(llc);

	if (!c)
		return 0;
	if (c->due && c->due <= due) {
		if (c->due > now)
			return 0;
		/* It is late: the CPU that has it does not come to it. */
		due = c->due;
	}
	c->due = due;
	bpf_timer_start(&c->timer, due > now ? due - now : 0, 0);
	return 0;
}

static void count_end(u64 kept, u64 held, u64 excused)
{
	u32 cpu = bpf_get_smp_processor_id();
	struct counters *c;

	if (cpu >= MAX_CPUS)
		return;
	c = &counters[cpu];
	c->ended++;
	c->kept_ns += kept;
	if (kept > c->kept_max_ns)
		c->kept_max_ns = kept;
	if (held > c->held_max_ns)
		c->held_max_ns = held;
	if (excused > c->excused_max_ns)
		c->excused_max_ns = excused;
}

/* How late the timer is. */
static u64 lateness(const struct llc_ctx *c, u64 now)
{
	u64 due = READ_ONCE(c->due);

	return due && now > due ? now - due : 0;
}

/* How long the timer has been at work of the time since `at`. */
static u64 busy_since(const struct llc_ctx *c, u64 at)
{
	u64 from = at > c->began ? at : c->began;

	return c->done > from ? c->done - from : 0;
}

static void count_late(const struct llc_ctx *c)
{
	u64 late = lateness(c, bpf_ktime_get_ns());
	u32 cpu = bpf_get_smp_processor_id();

	if (cpu < MAX_CPUS && late > counters[cpu].late_max_ns)
		counters[cpu].late_max_ns = late;
}

/*
 * The veto on the task of `llc` is over, unless it was already. What the timer is late is not the veto's. Who may no longer be
 * there, and was not when the timer looked, had left before.
 */
__attribute__((noinline)) int end_veto(struct moving *m, u32 llc, u64 now, bool is_there)
{
	struct llc_ctx *c = llc_ctx_of(llc);
	u64 since, kept, held, late = 0, busy;
	u32 decided;

	if (!m)
		return 0;
	since = m->waits_since;
	kept = held = now - m->at;
	decided = READ_ONCE(m->decided);
	if ((decided & DECIDED_STATE) != MOVE_STAYS)
		return 0;
	if (__sync_val_compare_and_swap(&m->decided, decided, decided - MOVE_STAYS + MOVE_STAYED) != decided)
		return 0;
	/* That was about another time that it waited. */
	if (!since || m->at < since)
		return 0;
	if (c) {
		late = lateness(c, now);
		busy = busy_since(c, m->at);
		if (busy > late)
			late = busy;
		held = kept > late ? kept - late : 0;
		if (!is_there && held > VETO_NS && c->swept >= since + VETO_NS)
			held = VETO_NS;
	}
	count_end(kept, held, late);
	return 0;
}

/* The task, which is kept, is in the queue of `llc` only now. */
static void keep_at(const struct moving *m, u32 llc)
{
	u64 since = READ_ONCE(m->waits_since);

	if (since && decided_state(m) == MOVE_STAYS)
		arm(llc, since + VETO_NS, bpf_ktime_get_ns());
}

/* When the veto on the task ends that is there or about to be; 0: there is none. */
static u64 veto_due(const struct moving *m)
{
	u32 decided = decided_state(m);
	u64 since = READ_ONCE(m->waits_since);

	return since && (decided == MOVE_STAYS || decided == MOVE_BEING_DECIDED) ? since + VETO_NS : 0;
}

/* Counts one more, up to `most`. In memory, as of numbers there the verifier does not follow each by itself. */
static bool count_to(u32 *count, u32 most)
{
	u32 counted = READ_ONCE(*count);

	if (counted >= most)
		return false;
	WRITE_ONCE(*count, counted + 1);
	return true;
}

/* Lets go whoever has waited for long enough, and wakes CPUs for them and who waits behind them. */
static int wake_for_kept(void *map, u32 *llc, struct llc_ctx *c)
{
	u64 now = bpf_ktime_get_ns(), next = 0;
	struct task_struct *p;
	bool is_whole = true;

	WRITE_ONCE(c->looked, 0);
	WRITE_ONCE(c->kicked, 0);
	bpf_rcu_read_lock();
	bpf_for_each(scx_dsq, p, *llc, 0) {
		struct moving *m = moving_of(p);
		u64 due = m ? veto_due(m) : 0;
		s32 cpu;

		if (!count_to(&c->looked, MAX_LOOKED)) {
			is_whole = false;
			if (!next || next > now + VETO_NS)
				next = now + VETO_NS;
			break;
		}
		if (due > now) {
			if (!next || due < next)
				next = due;
			continue;
		}
		if (m && due)
			end_veto(m, *llc, now, true);
		if (!count_to(&c->kicked, MAX_KICKS))
			continue;
		cpu = scx_bpf_pick_idle_cpu(p->cpus_ptr, 0);
		if (cpu >= 0)
			scx_bpf_kick_cpu(cpu, SCX_KICK_IDLE);
	}
	bpf_rcu_read_unlock();
	if (is_whole)
		c->swept = now;
	/* Only now: until then whoever ends a veto knows that this is late. */
	count_late(c);
	c->began = now;
	c->done = bpf_ktime_get_ns();
	c->due = 0;
	if (next)
		arm(*llc, next, bpf_ktime_get_ns());
	return 0;
}

#endif
