/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Whether a task that waits goes to another LLC: what is known of it and of both, what the network says, and what
 * came of it. For how long it may be kept is in kept.h, the network's arithmetic in network.h; which tasks come into
 * question, and where to, is in main.bpf.c. A decision is made once for each time that a task waits. What is not static
 * is walked by the verifier once, instead of on each path to each of its calls.
 */
#ifndef FORESIGHT_MOVES_H
#define FORESIGHT_MOVES_H

#include "kept.h"
#include "network.h"

/* How many decisions user space is told of in each second. */
#define MOVES_PER_SECOND 5000

/* In which share of decisions chance has the opposite done, of 2^32. */
const volatile u32 explore;
const volatile u32 llc_cpus[MAX_LLCS];
const volatile u32 llc_node[MAX_LLCS];

/* Written by user space: two networks, and which of them counts. */
struct network networks[2] SEC(".data.networks");
u32 live_network;

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 18);
} decisions SEC(".maps");

struct budget all_moves;

/* What dst is about to do without the task. */
enum destination {
	DST_IDLE,	/* it has been idle */
	DST_BUSY,	/* somebody there wants to run on */
	DST_NEWLY_IDLE,
};

/* A move that comes into question. */
struct way {
	u32 src;
	u32 dst;
	u32 how;	/* enum destination */
	u32 pad;
	u64 ran;	/* since the task woke */
	u64 want;	/* what it is predicted to run now */
};

/* Whether anything is ever decided here. */
static __always_inline bool gates(void)
{
	return learning && nr_llcs > 1;
}

/* Sets `goes` and `version`; a version of 0 is that of no network. */
__attribute__((noinline)) int ask_network(struct question *q)
{
	struct network *n = &networks[READ_ONCE(live_network) & 1];
	u32 version = READ_ONCE(n->version);
	s64 logit;

	if (!q)
		return 0;
	q->version = 0;
	if (!version || version & 1)
		return 0;
	read_barrier();
	logit = network_logit(n, q->features);
	q->goes = network_moves(n, logit);
	read_barrier();
	if (READ_ONCE(n->version) == version)
		q->version = version;
	return 0;
}

static void wait_ends(struct moving *m)
{
	u32 llc = m->queue - 1;
	u64 now;

	leave_queue(m);
	if (decided_state(m) > MOVE_BEING_DECIDED && m->at) {
		m->flags = m->decided >> DECIDED_FLAGS & 0xff;
		now = bpf_ktime_get_ns();
		end_veto(m, llc, now, false);
		m->waited = now - m->at;
		m->began = true;
	}
	m->decided = MOVE_OPEN;
	m->waits_since = 0;
}

static void send_move(const struct task_struct *p, const struct moving *m, u64 ran)
{
	struct move_sample *s = bpf_ringbuf_reserve(&decisions, sizeof(*s), 0);

	if (!s) {
		COUNT(lost_moves);
		return;
	}
	s->at = m->at;
	s->waited = m->waited;
	s->ran = ran - m->ran_before;
	s->predicted = m->predicted;
	/* That is no prediction but the most that there is. */
	if (s->predicted >= slice_max_ns && s->ran > s->predicted)
		s->ran = s->predicted;
	s->pid = p->pid;
	s->flags = m->flags;
	s->version = m->question.version;
	s->pad = 0;
	__builtin_memcpy(s->features, m->question.features, sizeof(s->features));
	bpf_ringbuf_submit(s, BPF_RB_NO_WAKEUP);
	COUNT(moves);
}

/* The task, which has run for `ran` since it woke, stops: what came of the decision is known. */
static void report_move(const struct task_struct *p, struct moving *m, u64 ran, u64 now)
{
	if (m->began && spend(&all_moves, now, MOVES_PER_SECOND))
		send_move(p, m, ran);
	m->began = false;
	m->at = 0;
	m->decided = MOVE_OPEN;
}

static bool has_idle(u32 llc)
{
	struct llc_ctx *c = llc_ctx_of(llc);
	const struct cpumask *idle;
	struct bpf_cpumask *cpus;
	bool has = true;

	if (!c)
		return true;
	idle = scx_bpf_get_idle_cpumask();
	cpus = c->cpus;
	if (cpus)
		has = bpf_cpumask_intersects(cast_mask(cpus), idle);
	scx_bpf_put_idle_cpumask(idle);
	return has;
}

static __always_inline s32 truth_q16(bool truth)
{
	return truth ? FM_ONE : 0;
}

/* What the network is told. */
__attribute__((noinline)) int look_at_move(struct moving *m, const struct way *way, u64 now)
{
	u32 src, dst, src_cpus, dst_cpus;
	s32 *x;

	if (!m || !way)
		return 0;
	x = m->question.features;
	src = way->src;
	dst = way->dst;
	if (src >= MAX_LLCS || dst >= MAX_LLCS)
		return 0;
	src_cpus = llc_cpus[src] ? llc_cpus[src] : 1;
	dst_cpus = llc_cpus[dst] ? llc_cpus[dst] : 1;
	x[FM_IN_SRC_FOREIGN] = per_cpu_q16(waiting[src].foreign, src_cpus);
	x[FM_IN_AWAY] = level_q16(now - m->stopped_at, FM_AWAY_LEVEL);
	x[FM_IN_DST_IDLE] = truth_q16(way->how == DST_IDLE);
	x[FM_IN_DST_NOT_IDLE] = truth_q16(way->how == DST_BUSY);
	x[FM_IN_DST_NEWLY_IDLE] = truth_q16(way->how == DST_NEWLY_IDLE);
	x[FM_IN_SAME_NODE] = truth_q16(llc_node[src] == llc_node[dst]);
	x[FM_IN_PREFERS_SRC] = truth_q16(m->home_ns && m->home == src);
	x[FM_IN_PREFERS_DST] = truth_q16(m->home_ns && m->home == dst);
	x[FM_IN_SRC_LENGTH] = per_cpu_q16(scx_bpf_dsq_nr_queued(src), src_cpus);
	x[FM_IN_SRC_LOAD] = level_q16(waiting[src].load / src_cpus, FM_LEVEL);
	x[FM_IN_DST_LOAD] = level_q16(waiting[dst].load / dst_cpus, FM_LEVEL);
	x[FM_IN_DST_LENGTH] = per_cpu_q16(scx_bpf_dsq_nr_queued(dst), dst_cpus);
	x[FM_IN_FAULTS] = level_q16(m->last_faults + 1, 0);
	x[FM_IN_VETOES] = per_cpu_q16(m->vetoes, 1);
	x[FM_IN_WAKER] = truth_q16(m->waker == src + 1);
	x[FM_IN_PREDICTED] = level_q16(m->predicted, FM_LEVEL);
	return 0;
}

/*
 * Where the task has to stay, that is over when it is `due`. If it has run meanwhile `deciding` is gone, and nothing is
 * decided: somebody else may be at it again.
 */
static void decide(struct moving *m, const struct way *way, u32 deciding, u64 due, u64 now)
{
	bool is_heard = now - READ_ONCE(heartbeat) <= STALE_NS, goes = true;
	u32 flags = 0, decided;

	m->at = now;
	m->ran_before = way->ran;
	m->predicted = way->want;
	m->began = false;
	look_at_move(m, way, now);
	m->question.version = 0;
	if (is_heard)
		ask_network(&m->question);
	if (m->question.version) {
		flags |= MOVE_HAD_VERDICT;
		if (m->question.goes)
			flags |= MOVE_SAID_GO;
		if (READ_ONCE(acting) & ACTS_ON_MOVES)
			goes = m->question.goes;
	}
	if (explore && is_heard && bpf_get_prandom_u32() < explore) {
		flags |= MOVE_EXPLORED;
		goes = !goes;
	}
	/* First of all: nobody is kept without it. */
	if (!goes)
		arm(way->src, due, now);
	decided = goes ? MOVE_GOES | MOVE_WENT << DECIDED_FLAGS : MOVE_STAYS;
	decided |= flags << DECIDED_FLAGS;
	if (__sync_val_compare_and_swap(&m->decided, deciding, decided) != deciding)
		return;
	COUNT(candidates);
	if (goes)
		return;
	m->vetoes++;
	COUNT(vetoes);
}

/* Whether the task has waited at src for so long that nothing keeps it. */
static bool has_waited(struct moving *m, u32 src, u64 since, u64 now, bool is_there)
{
	u32 decided;

	if (now - since < VETO_NS)
		return false;
	end_veto(m, src, now, is_there);
	decided = READ_ONCE(m->decided);
	if ((decided & DECIDED_STATE) == MOVE_STAYED &&
	    __sync_val_compare_and_swap(&m->decided, decided, decided - MOVE_STAYED + MOVE_GOES) == decided)
		COUNT(forced);
	return true;
}

/*
 * Whether the task, which waits at src or is about to, goes to dst. Whoever is refused is woken again once the task has
 * waited for long enough.
 */
__attribute__((noinline)) int goes(struct moving *m, const struct way *way)
{
	u64 since, now;
	u32 deciding;

	if (!m || !way)
		return true;
	now = bpf_ktime_get_ns();
	since = READ_ONCE(m->waits_since);
	if (!since)
		m->waits_since = since = now;
	if (has_waited(m, way->src, since, now, true) || decided_state(m) == MOVE_GOES || has_idle(way->src))
		return true;
	/* Two CPUs may ask at once: it is up to the first. */
	deciding = MOVE_BEING_DECIDED | (bpf_get_smp_processor_id() + 1) << DECIDED_CPU;
	if (__sync_val_compare_and_swap(&m->decided, MOVE_OPEN, deciding) == MOVE_OPEN)
		decide(m, way, deciding, since + VETO_NS, now);
	if (decided_state(m) == MOVE_GOES)
		return true;
	arm(way->src, since + VETO_NS, now);
	/* This may have taken so long that the timer was before it. */
	return has_waited(m, way->src, since, bpf_ktime_get_ns(), false);
}

/* The CPUs and the timer of an LLC. */
static s32 init_llc(u32 llc)
{
	struct llc_ctx *c = llc_ctx_of(llc);
	struct bpf_cpumask *cpus;
	u32 cpu;

	if (!c)
		return -ENOENT;
	cpus = bpf_cpumask_create();
	if (!cpus)
		return -ENOMEM;
	bpf_for(cpu, 0, MAX_CPUS)
		if (cpu < scx_bpf_nr_cpu_ids() && cpu_llc[cpu] == llc)
			bpf_cpumask_set_cpu(cpu, cpus);
	cpus = bpf_kptr_xchg(&c->cpus, cpus);
	if (cpus)
		bpf_cpumask_release(cpus);
	bpf_timer_init(&c->timer, &llcs, CLOCK_MONOTONIC);
	return bpf_timer_set_callback(&c->timer, wake_for_kept);
}

#endif
