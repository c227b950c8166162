/* SPDX-License-Identifier: GPL-2.0-only */
/* Answers questions about the arithmetic of bpf/model.h and bpf/network.h, compiled for this machine: a line each. See arithmetic.rs. */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

typedef unsigned int u32;
typedef int s32;
typedef unsigned long long u64;
typedef long long s64;

#include "../bpf/model.h"
#include "../bpf/network.h"

static s64 number(void)
{
	s64 value = 0;

	if (scanf("%lld", &value) != 1)
		fprintf(stderr, "a number is missing\n");
	return value;
}

/* Those that do not fit into an s64. */
static u64 natural(void)
{
	u64 value = 0;

	if (scanf("%llu", &value) != 1)
		fprintf(stderr, "a number is missing\n");
	return value;
}

static void deviation(void)
{
	s64 weights[FM_FEATURES], sum = 0;

	for (int i = 0; i < FM_FEATURES; i++)
		weights[i] = number();
	for (int i = 0; i < FM_FEATURES; i++)
		sum += weights[i] * number();
	printf("%d\n", deviation_of(sum));
}

static void request(void)
{
	u64 predicted = natural(), ran = natural(), most = natural();
	u64 want = want_ns(predicted, ran, most);

	printf("%llu %llu\n", want, slice_for(want, most));
}

static void numbers(s32 *numbers, int count)
{
	for (int i = 0; i < count; i++)
		numbers[i] = number();
}

/* Each time with the whole network. */
static void network(void)
{
	struct network n = {};
	s32 features[NR_INPUTS];
	s64 logit;

	numbers(&n.w1[0][0], NR_HIDDEN * NR_INPUTS);
	numbers(n.b1, NR_HIDDEN);
	numbers(n.w2, NR_HIDDEN);
	numbers(&n.b2, 1);
	numbers(&n.threshold, 1);
	numbers(features, NR_INPUTS);
	logit = network_logit(&n, features);
	printf("%lld %d\n", logit, network_moves(&n, logit));
}

static void wake(struct bursts *b)
{
	u64 slept = natural();
	bool own_process = number(), from_idle = number();
	s32 features[FM_FEATURES];

	bursts_wake(b, slept, own_process, from_idle, features);
	for (int i = 0; i < FM_FEATURES; i++)
		printf("%d%c", features[i], i + 1 < FM_FEATURES ? ' ' : '\n');
}

static void end(struct bursts *b)
{
	u64 ran = natural();
	bool had_line = number();
	s32 length = bursts_end(b, ran, had_line, number());

	printf("%d %d %d %d %d\n", length, b->average, b->average_error, b->line_error, bursts_use_line(b));
}

int main(void)
{
	struct bursts b = {};
	char what[16];

	bursts_init(&b);
	while (scanf("%15s", what) == 1) {
		if (!strcmp(what, "log2")) {
			printf("%d\n", log2_q16(natural()));
		} else if (!strcmp(what, "exp2")) {
			printf("%llu\n", exp2_q16(number()));
		} else if (!strcmp(what, "deviation")) {
			deviation();
		} else if (!strcmp(what, "predict")) {
			s32 average = number(), off = number();

			printf("%llu\n", predict_ns(average, off, natural()));
		} else if (!strcmp(what, "request")) {
			request();
		} else if (!strcmp(what, "charge")) {
			u64 vtime = natural(), used = natural();

			printf("%llu\n", charge(vtime, used, number()));
		} else if (!strcmp(what, "bound")) {
			u64 vtime = natural();

			printf("%llu\n", bound(vtime, natural()));
		} else if (!strcmp(what, "preempts")) {
			u64 deadline = natural();

			printf("%d\n", preempts(deadline, natural()));
		} else if (!strcmp(what, "network")) {
			network();
		} else if (!strcmp(what, "wake")) {
			wake(&b);
		} else if (!strcmp(what, "end")) {
			end(&b);
		} else {
			fprintf(stderr, "%s is no question\n", what);
			return 1;
		}
	}
	return 0;
}
