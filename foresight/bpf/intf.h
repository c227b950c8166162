/* SPDX-License-Identifier: GPL-2.0-only */
/* What the BPF programs and user space share. What has a fraction is Q16.16. */
#ifndef FORESIGHT_INTF_H
#define FORESIGHT_INTF_H

#ifndef __VMLINUX_H__
typedef unsigned int u32;
typedef int s32;
typedef unsigned long long u64;
#endif

enum limits {
	MAX_CPUS = 1024,
	MAX_LLCS = 64,
};

/* What was counted on one CPU. */
struct counters {
	u64 bursts;	/* that ended in sleep */
	u64 idle;	/* wakeups that found an idle CPU */
	u64 queued;	/* tasks that had to wait */
	u64 stolen;	/* tasks that ran in another LLC than they waited in */
	u64 preempted;	/* running tasks that had to go for one that woke */
	u64 pad[3];
};

#endif
