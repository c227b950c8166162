/* SPDX-License-Identifier: GPL-2.0-only */
/* What the BPF programs and user space share. What has a fraction is Q16.16; lengths are log2 of nanoseconds. */
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
	NR_SLOTS = 4096, /* as foresight-model has them, and so the next one */
	NR_FEATURES = 8,
	NR_NAME = 16,
};

/* The line of one task. `version` is odd while it is written, and 0 before it ever was. */
struct slot {
	u32 version;
	u32 pid;
	s32 weights[NR_FEATURES];
};

enum sample_flags {
	HAD_LINE = 1,	/* there was one when the task woke */
	CHOSE_LINE = 2,	/* and it has done better than the average so far */
	USED_LINE = 4,	/* and it was what counted */
};

/* A burst that ended. */
struct burst_sample {
	u64 at;		/* when, by CLOCK_MONOTONIC */
	u64 ran;
	u32 pid;
	u32 flags;
	s32 features[NR_FEATURES];
	s32 length;
	s32 average;	/* before this burst */
	s32 deviation;	/* from it, as the line said */
	u32 pad;
	char name[NR_NAME];
};

/* What was counted on one CPU. */
struct counters {
	u64 bursts;	/* that ended in sleep */
	u64 idle;	/* wakeups that found an idle CPU */
	u64 queued;	/* tasks that had to wait */
	u64 stolen;	/* tasks that ran in another LLC than they waited in */
	u64 preempted;	/* running tasks that had to go for one that woke */
	u64 samples;	/* bursts that user space was told of */
	u64 lost;	/* those that there was no room for */
	u64 pad;
};

#endif
