/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The scheduler. Each last-level cache (LLC) has a queue, each CPU another for tasks that may run there only, and both are
 * in the order of virtual deadlines: what a task has run so far by its weight, and what it is predicted to run now. A task
 * that wakes takes an idle CPU, or the place of one that runs with a deadline that is well behind its own. An idle CPU
 * takes what waits in other LLCs, unless it is kept there for a moment (moves.h).
 */
#include <scx/common.bpf.h>
#include "intf.h"

struct counters counters[MAX_CPUS];

#define COUNT(what)                                            \
	do {                                                   \
		u32 count_cpu = bpf_get_smp_processor_id();    \
		if (count_cpu < MAX_CPUS)                      \
			counters[count_cpu].what++;            \
	} while (0)

const volatile u32 cpu_llc[MAX_CPUS];
const volatile u32 nr_llcs = 1;
const volatile u64 slice_max_ns = 3000000;

#include "burst.h"
#include "moves.h"

char _license[] SEC("license") = "GPL";

UEI_DEFINE(uei);

/* How often one CPU may be interrupted for a task that wakes. */
#define PREEMPT_EVERY_NS 500000ULL

/* The queues of LLCs have the numbers of these; then come those of CPUs. */
#define CPU_DSQ(cpu) (MAX_LLCS + (cpu))

struct cpu_ctx {
	u64 deadline;		/* of the task that runs; 0: none does */
	u64 preempted_at;
	u32 next_llc;		/* the one that is looked at next */
	u32 pad[11];
} cpus[MAX_CPUS];

/* The virtual time of who is furthest on of those that run; but see pace(). */
static u64 vtime_now;

/* Up to when it has passed as fast as it does at least. */
static u64 paced_until;

/* How often it is looked at whether it does. */
#define PACE_EVERY_NS 1000000ULL

/* dsq_vtime of a task is overwritten with its deadline when it is queued: the virtual time is kept here. */
struct task_ctx {
	u64 vtime;
	u64 counted;	/* sum_exec_runtime up to which all is accounted for */
	u64 ran;	/* since it woke */
	u64 predicted;	/* what it would run, when it woke */
	bool is_woken;	/* what happens at a wakeup has happened already */
	struct foresight foresight;
	struct moving moving;
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct task_ctx);
} tasks SEC(".maps");

static struct task_ctx *ctx_of(struct task_struct *p)
{
	return bpf_task_storage_get(&tasks, p, 0, 0);
}

static struct moving *moving_of(struct task_struct *p)
{
	struct task_ctx *t = ctx_of(p);

	return t ? &t->moving : NULL;
}

static u32 llc_of(u32 cpu)
{
	u32 llc = cpu < MAX_CPUS ? cpu_llc[cpu] : 0;

	return llc < MAX_LLCS ? llc : 0;
}

static u64 deadline_of(const struct task_struct *p, const struct task_ctx *t)
{
	u64 want = want_ns(t->predicted, t->ran, slice_max_ns);

	return bound(charge(t->vtime, want, p->scx.weight), vtime_now);
}

/* Of a task that is about to wait, or to run again. */
static void bound_vtime(struct task_ctx *t)
{
	t->vtime = bound(t->vtime, vtime_now);
}

/* Where many want a CPU, or heavy ones, who is ahead of them would wait for longer than the kernel suffers. */
static void pace(void)
{
	u64 now = scx_bpf_now(), until = paced_until;

	if (!is_before(until + PACE_EVERY_NS, now))
		return;
	if (__sync_val_compare_and_swap(&paced_until, until, now) == until)
		__sync_fetch_and_add(&vtime_now, (now - until) / FM_PACE);
}

static s32 idle_cpu(struct task_struct *p, s32 prev_cpu, u64 wake_flags)
{
	bool is_idle = false;
	s32 cpu;

	if (__COMPAT_HAS_scx_bpf_select_cpu_and)
		return scx_bpf_select_cpu_and(p, prev_cpu, wake_flags, p->cpus_ptr, 0);
	/* Linux before 6.17. */
	cpu = scx_bpf_select_cpu_dfl(p, prev_cpu, wake_flags, &is_idle);
	return is_idle ? cpu : -EBUSY;
}

static void wake(struct task_struct *p, struct task_ctx *t)
{
	bound_vtime(t);
	t->ran = 0;
	t->predicted = predict(p, &t->foresight, slice_max_ns);
}

/* Whether a task that wakes goes from the LLC of `prev_cpu` to an idle CPU of another. */
static bool wakes_elsewhere(struct task_struct *p, struct task_ctx *t, s32 prev_cpu, s32 cpu)
{
	struct way way = {
		.src = llc_of(prev_cpu),
		.dst = llc_of(cpu),
		.how = DST_IDLE,
	};

	if (way.src == way.dst || p->flags & PF_KTHREAD)
		return true;
	wake(p, t);
	t->is_woken = true;
	way.want = want_ns(t->predicted, 0, slice_max_ns);
	return goes(&t->moving, &way);
}

s32 BPF_STRUCT_OPS(foresight_select_cpu, struct task_struct *p, s32 prev_cpu, u64 wake_flags)
{
	struct task_ctx *t;
	s32 cpu;

	if (!bpf_cpumask_test_cpu(prev_cpu, p->cpus_ptr)) {
		s32 here = bpf_get_smp_processor_id();

		prev_cpu = bpf_cpumask_test_cpu(here, p->cpus_ptr) ? here : bpf_cpumask_first(p->cpus_ptr);
	}
	t = gates() && wake_flags & SCX_WAKE_TTWU ? ctx_of(p) : NULL;
	if (t)
		note_waker(p, &t->moving, llc_of(bpf_get_smp_processor_id()), wake_flags & SCX_WAKE_SYNC);
	cpu = idle_cpu(p, prev_cpu, wake_flags);
	if (cpu < 0)
		return prev_cpu;
	if (t && !wakes_elsewhere(p, t, prev_cpu, cpu)) {
		/* It counts as taken, and stays idle: so that it counts as that again. */
		scx_bpf_kick_cpu(cpu, SCX_KICK_IDLE);
		return prev_cpu;
	}
	COUNT(idle);
	scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL, slice_max_ns, 0);
	return cpu;
}

/* Called after select_cpu and before enqueue. */
void BPF_STRUCT_OPS(foresight_runnable, struct task_struct *p, u64 enq_flags)
{
	struct task_ctx *t;

	if (!(enq_flags & SCX_ENQ_WAKEUP))
		return;
	t = ctx_of(p);
	if (!t)
		return;
	if (!t->is_woken)
		wake(p, t);
	t->is_woken = false;
}

/* Interrupts who runs on `cpu` if its deadline is well behind this one. */
static void preempt(s32 cpu, u64 deadline)
{
	u32 index = cpu;
	struct cpu_ctx *c;
	u64 now;

	if (index >= MAX_CPUS)
		return;
	c = &cpus[index];
	if (!c->deadline || !preempts(deadline, c->deadline))
		return;
	now = scx_bpf_now();
	if (now - c->preempted_at < PREEMPT_EVERY_NS)
		return;
	c->preempted_at = now;
	COUNT(preempted);
	scx_bpf_kick_cpu(cpu, SCX_KICK_PREEMPT);
}

void BPF_STRUCT_OPS(foresight_enqueue, struct task_struct *p, u64 enq_flags)
{
	s32 cpu = scx_bpf_task_cpu(p);
	bool pinned = p->nr_cpus_allowed == 1;
	u64 queue = pinned ? CPU_DSQ(cpu) : llc_of(cpu);
	u64 slice = slice_max_ns, deadline = vtime_now;
	struct task_ctx *t = ctx_of(p);

	COUNT(queued);
	if (t) {
		u64 want = want_ns(t->predicted, t->ran, slice_max_ns);

		bound_vtime(t);
		deadline = deadline_of(p, t);
		slice = slice_for(want, slice_max_ns);
		if (gates() && !pinned)
			enter_queue(&t->moving, queue, want);
	}
	scx_bpf_dsq_insert_vtime(p, queue, slice, deadline, enq_flags);
	if (t && gates() && !pinned)
		keep_at(&t->moving, queue);
	if (enq_flags & SCX_ENQ_WAKEUP) {
		preempt(cpu, deadline);
	} else if (!pinned && !__COMPAT_is_enq_cpu_selected(enq_flags)) {
		/* It was taken off its CPU, and nobody has looked whether another is idle. */
		cpu = scx_bpf_pick_idle_cpu(p->cpus_ptr, 0);
		if (cpu >= 0)
			scx_bpf_kick_cpu(cpu, SCX_KICK_IDLE);
	}
}

/* Whether the first task of queue `a` comes before that of `b` by more than `margin`. Not static as those in moves.h. */
__attribute__((noinline)) int is_earlier(u64 a, u64 b, u64 margin)
{
	struct task_struct *first = __COMPAT_scx_bpf_dsq_peek(a);
	struct task_struct *other = __COMPAT_scx_bpf_dsq_peek(b);

	if (!first || !other)
		return !!first;
	return time_before(first->scx.dsq_vtime + margin, other->scx.dsq_vtime);
}

static bool take_own(s32 cpu, u32 llc)
{
	u64 pinned = CPU_DSQ(cpu);

	if (!scx_bpf_dsq_nr_queued(pinned))
		return scx_bpf_dsq_move_to_local(llc, 0);
	if (is_earlier(llc, pinned, 0))
		return scx_bpf_dsq_move_to_local(llc, 0) || scx_bpf_dsq_move_to_local(pinned, 0);
	return scx_bpf_dsq_move_to_local(pinned, 0) || scx_bpf_dsq_move_to_local(llc, 0);
}

/* Whether the first task that waits at `src` may come to this CPU. */
static bool may_take(s32 cpu, u32 own, u32 src, u32 how)
{
	struct way way = {
		.src = src,
		.dst = own,
		.how = how,
	};
	struct task_struct *p;
	struct task_ctx *t;

	if (!gates())
		return true;
	p = __COMPAT_scx_bpf_dsq_peek(src);
	/* Where it may not run another one is taken, of which nothing is known. */
	if (!p || p->flags & PF_KTHREAD || !bpf_cpumask_test_cpu(cpu, p->cpus_ptr))
		return true;
	t = ctx_of(p);
	if (!t)
		return true;
	way.ran = t->ran;
	way.want = want_ns(t->predicted, t->ran, slice_max_ns);
	return goes(&t->moving, &way);
}

__attribute__((noinline)) int take_from(s32 cpu, u32 own, u32 llc, u32 how)
{
	if (!scx_bpf_dsq_nr_queued(llc) || !may_take(cpu, own, llc, how) || !scx_bpf_dsq_move_to_local(llc, 0))
		return false;
	COUNT(stolen);
	return true;
}

/*
 * An LLC whose CPUs are never idle takes nothing from others, however long the queues there are. But what waits there
 * falls behind in virtual time, which is the same for all: one other LLC is looked at at a time.
 */
static bool take_late(s32 cpu, u32 own)
{
	u32 index = cpu, llc;

	if (index >= MAX_CPUS)
		return false;
	llc = cpus[index].next_llc + 1;
	if (llc >= nr_llcs)
		llc = 0;
	cpus[index].next_llc = llc;
	return llc != own && scx_bpf_dsq_nr_queued(llc) && is_earlier(llc, own, FM_LAG_NS / 2) &&
	       take_from(cpu, own, llc, DST_BUSY);
}

void BPF_STRUCT_OPS(foresight_dispatch, s32 cpu, struct task_struct *prev)
{
	bool wanted = prev && prev->scx.flags & SCX_TASK_QUEUED;
	u32 own = llc_of(cpu), i;

	if (nr_llcs > 1 && scx_bpf_dsq_nr_queued(own) && take_late(cpu, own))
		return;
	if (take_own(cpu, own))
		return;
	bpf_for(i, 1, nr_llcs) {
		u32 llc = own + i < nr_llcs ? own + i : own + i - nr_llcs;

		if (take_from(cpu, own, llc, wanted ? DST_BUSY : DST_NEWLY_IDLE))
			return;
	}
	if (wanted)
		scx_bpf_task_set_slice(prev, slice_max_ns);
}

void BPF_STRUCT_OPS(foresight_running, struct task_struct *p)
{
	struct task_ctx *t = ctx_of(p);
	u32 cpu = scx_bpf_task_cpu(p);

	if (!t)
		return;
	if (gates())
		wait_ends(&t->moving);
	pace();
	if (time_before(vtime_now, t->vtime))
		vtime_now = t->vtime;
	if (cpu < MAX_CPUS)
		cpus[cpu].deadline = deadline_of(p, t);
}

void BPF_STRUCT_OPS(foresight_stopping, struct task_struct *p, bool runnable)
{
	struct task_ctx *t = ctx_of(p);
	u32 cpu = scx_bpf_task_cpu(p);
	u64 used, now;

	if (cpu < MAX_CPUS)
		cpus[cpu].deadline = 0;
	if (!t)
		return;
	/* CPU time, not the time that passed: an interrupt is not the task's. */
	used = p->se.sum_exec_runtime - t->counted;
	t->counted = p->se.sum_exec_runtime;
	t->ran += used;
	t->vtime = charge(t->vtime, used, p->scx.weight);
	now = learning ? bpf_ktime_get_ns() : 0;
	if (gates()) {
		note_home(&t->moving, llc_of(cpu), used, now);
		report_move(p, &t->moving, t->ran, now);
		if (!runnable)
			note_faults(p, &t->moving);
	}
	if (!runnable)
		end_burst(p, &t->foresight, t->ran, now);
}

s32 BPF_STRUCT_OPS(foresight_init_task, struct task_struct *p, struct scx_init_task_args *args)
{
	struct task_ctx *t = bpf_task_storage_get(&tasks, p, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);

	if (!t)
		return -ENOMEM;
	bursts_init(&t->foresight.bursts);
	t->predicted = slice_max_ns;
	return 0;
}

void BPF_STRUCT_OPS(foresight_enable, struct task_struct *p)
{
	struct task_ctx *t = ctx_of(p);

	if (!t)
		return;
	t->counted = p->se.sum_exec_runtime;
	t->vtime = vtime_now;
}

/* It may be waiting. */
void BPF_STRUCT_OPS(foresight_disable, struct task_struct *p)
{
	struct task_ctx *t = gates() ? ctx_of(p) : NULL;

	if (t)
		wait_ends(&t->moving);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(foresight_init)
{
	u32 i, nr_cpus = scx_bpf_nr_cpu_ids();
	s32 error;

	bpf_for(i, 0, nr_llcs) {
		error = scx_bpf_create_dsq(i, -1);
		if (!error && gates())
			error = init_llc(i);
		if (error)
			return error;
	}
	bpf_for(i, 0, nr_cpus) {
		error = scx_bpf_create_dsq(CPU_DSQ(i), -1);
		if (error)
			return error;
	}
	return 0;
}

void BPF_STRUCT_OPS(foresight_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(foresight_ops,
	       .select_cpu = (void *)foresight_select_cpu,
	       .runnable = (void *)foresight_runnable,
	       .enqueue = (void *)foresight_enqueue,
	       .dispatch = (void *)foresight_dispatch,
	       .running = (void *)foresight_running,
	       .stopping = (void *)foresight_stopping,
	       .init_task = (void *)foresight_init_task,
	       .enable = (void *)foresight_enable,
	       .disable = (void *)foresight_disable,
	       .init = (void *)foresight_init,
	       .exit = (void *)foresight_exit,
	       .timeout_ms = 5000,
	       .name = "foresight");
