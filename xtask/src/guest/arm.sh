#!/bin/busybox sh
# shellcheck shell=dash
# The first program of the emulated Arm: has the kernel's file systems where programs look for them, runs the one program
# that is to be run, with the arguments of this one, and says how that ended.

/bin/busybox --install -s /bin
export PATH=/bin

fail() {
	echo "auto-ext machine: $*"
	echo "auto-ext machine: cannot boot"
	poweroff -f
}

mount -t devtmpfs dev /dev || fail "mount devtmpfs"
mount -t proc proc /proc || fail "mount proc"
mount -t sysfs sys /sys || fail "mount sysfs"
mount -t cgroup2 cgroup /sys/fs/cgroup || fail "mount cgroup2"

/bin/program "$@"
echo "auto-ext machine: ended with $?"
poweroff -f
