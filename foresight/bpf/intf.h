/* SPDX-License-Identifier: GPL-2.0-only */
/* What the BPF programs and user space share. What has a fraction is Q16.16; lengths are log2 of nanoseconds. */
#ifndef FORESIGHT_INTF_H
#define FORESIGHT_INTF_H

#ifndef __VMLINUX_H__
typedef unsigned int u32;
typedef int s32;
typedef unsigned long long u64;
typedef long long s64;
#endif

enum limits {
	MAX_CPUS = 1024,
	MAX_LLCS = 64,
	NR_SLOTS = 4096, /* as foresight-model has them, and so the next one */
	NR_FEATURES = 8,
	NR_INPUTS = 16,
	NR_HIDDEN = 10,
	NR_NAME = 16,
};

/* The line of one task. `version` is odd while it is written, and 0 before it ever was. */
struct slot {
	u32 version;
	u32 pid;
	s32 weights[NR_FEATURES];
};

/* The network for moves. `version` is odd while it is written, and 0 before it ever was. */
struct network {
	u32 version;
	s32 w1[NR_HIDDEN][NR_INPUTS];
	s32 b1[NR_HIDDEN];
	s32 w2[NR_HIDDEN];
	s32 b2;
	s32 threshold;
};

/* What counts of what user space wrote, and is not only watched. */
enum acting {
	ACTS_ON_LINES = 1,
	ACTS_ON_MOVES = 2,
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

enum move_flags {
	MOVE_HAD_VERDICT = 1,	/* a network was there */
	MOVE_SAID_GO = 2,	/* and it said so */
	MOVE_EXPLORED = 4,	/* chance had the opposite done of what would have been */
	MOVE_WENT = 8,		/* the task was moved */
};

/* Whether a task was moved to another LLC, and what came of it. */
struct move_sample {
	u64 at;		/* when, by CLOCK_MONOTONIC */
	u64 waited;	/* from then until it ran */
	u64 ran;	/* until it slept, or was queued again */
	u64 predicted;
	u32 pid;
	u32 flags;
	u32 version;	/* of the network */
	s32 features[NR_INPUTS];
	u32 pad;
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
	u64 candidates;	/* tasks of which it was decided whether they go to another LLC */
	u64 vetoes;	/* those of them that had to stay */
	u64 forced;	/* and those of these that went all the same, as they had waited for long enough */
	u64 moves;	/* decisions that user space was told of */
	u64 lost_moves;	/* those that there was no room for */
	u64 ended;	/* vetoes that are over: who was kept may go, or runs */
	u64 kept_ns;	/* how long they lasted, in all */
	u64 kept_max_ns;	/* the longest */
	u64 held_max_ns;	/* the longest but for what the timer was late by which they end */
	u64 excused_max_ns;	/* the most that this left out */
	u64 late_max_ns;	/* the latest that such a timer was when it came */
	u64 pad[6];
};

#endif
