/* SPDX-License-Identifier: GPL-2.0-only */
/* The arithmetic of bpf/model.h and bpf/network.h, by itself: a program for each part. See arithmetic_cost.rs, which has them run. */
#include <stdbool.h>

typedef unsigned int u32;
typedef int s32;
typedef unsigned long long u64;
typedef long long s64;

#include "../bpf/model.h"
#include "../bpf/network.h"

#define PROGRAM __attribute__((section("socket"), used)) int

char _license[] __attribute__((section("license"), used)) = "GPL";

/* Global, so that nothing is known of them when this is compiled. */
struct bursts bursts;
s32 weights[FM_FEATURES];
struct network network;
s32 inputs[NR_INPUTS];
u64 random, result;

/* A length that differs each time, up to 17 s. The constants are Knuth's. */
static u64 next_length(void)
{
	random = random * 6364136223846793005ULL + 1442695040888963407ULL;
	return random >> 30 & ((1ULL << (10 + (random >> 60) * 3 / 2)) - 1);
}

PROGRAM nothing(void *context)
{
	result = next_length();
	return 0;
}

PROGRAM wakeup(void *context)
{
	s32 features[FM_FEATURES];
	s64 sum = 0;
	int i;

	bursts_wake(&bursts, next_length(), true, false, features);
	for (i = 0; i < FM_FEATURES; i++)
		sum += (s64)weights[i] * features[i];
	result = predict_ns(bursts.average, deviation_of(sum), FM_SLICE_MAX_NS);
	return 0;
}

PROGRAM burst_end(void *context)
{
	result = bursts_end(&bursts, next_length(), true, weights[0]);
	return 0;
}

PROGRAM network_answer(void *context)
{
	inputs[0] = next_length() & FM_ONE;
	result = network_moves(&network, network_logit(&network, inputs));
	return 0;
}
