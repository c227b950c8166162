/* SPDX-License-Identifier: GPL-2.0 */
/* What the crate foresight-model says, whose test `golden` writes this. Q16.16 where it counts 65536ths. */
#ifndef __FORESIGHT_MODEL_H
#define __FORESIGHT_MODEL_H

#define FM_ONE 65536
#define FM_MAX_WEIGHT 64
#define FM_MAX_FEATURE 16
#define FM_MAX_EXPONENT 40
#define FM_LOG2_BEND 22544
#define FM_EXP2_BEND 22571
#define FM_FEATURES 8
#define FM_LEVEL 15
#define FM_MAX_DEVIATION 6
#define FM_AVERAGE_SHIFT 2
#define FM_ERROR_SHIFT 5
#define FM_FIRST_AVERAGE 1179648
#define FM_MIN_JUDGED 8
#define FM_MIN_BURST_NS 1000
#define FM_MIN_PREDICTION_NS 10000
#define FM_SLICE_MIN_NS 300000
#define FM_SLICE_MAX_NS 3000000
#define FM_LAG_NS 20000000
#define FM_LEAD_NS 100000000
#define FM_PACE 20
#define FM_PREEMPT_NS 300000
#define FM_SLOTS 4096
#define FM_INPUTS 16
#define FM_HIDDEN 10
#define FM_MAX_BIAS 16384
#define FM_MAX_UNIT 1073741824
#define FM_AWAY_LEVEL 20
#define FM_IN_SRC_FOREIGN 0
#define FM_IN_AWAY 1
#define FM_IN_DST_IDLE 2
#define FM_IN_DST_NOT_IDLE 3
#define FM_IN_DST_NEWLY_IDLE 4
#define FM_IN_SAME_NODE 5
#define FM_IN_PREFERS_SRC 6
#define FM_IN_PREFERS_DST 7
#define FM_IN_SRC_LENGTH 8
#define FM_IN_SRC_LOAD 9
#define FM_IN_DST_LOAD 10
#define FM_IN_DST_LENGTH 11
#define FM_IN_FAULTS 12
#define FM_IN_VETOES 13
#define FM_IN_WAKER 14
#define FM_IN_PREDICTED 15

#endif
