#!/bin/busybox sh
# shellcheck shell=dash
# The test machine's first program: lays the file systems of the run, the kernel and the root over
# each other, under one that is forgotten with the machine, and starts systemd from there.

/bin/busybox --install -s /bin
export PATH=/bin

fail() {
	echo "auto-ext machine: $*" >/dev/console
	echo "auto-ext machine: cannot boot" >/dev/console
	poweroff -f
}

mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys

while read -r module; do
	insmod "/modules/$module" || fail "insmod $module"
done </modules/order

# Drives are named by serial number: the order in which they appear is nobody's promise.
drive() {
	for disk in /sys/block/vd*; do
		if [ "$(cat "$disk/serial")" = "$1" ]; then
			echo "/dev/${disk##*/}"
			return
		fi
	done
	fail "no drive $1"
}

for layer in root kernel payload; do
	mkdir "/layers/$layer"
	mount -t squashfs -o ro "$(drive "$layer")" "/layers/$layer" || fail "mount $layer"
done
mkdir /layers/top
mount -t tmpfs -o size=75% tmpfs /layers/top || fail "mount tmpfs"
mkdir /layers/top/upper /layers/top/work
mount -t overlay overlay /root \
	-o lowerdir=/layers/payload:/layers/kernel:/layers/root \
	-o upperdir=/layers/top/upper,workdir=/layers/top/work || fail "mount overlay"

# The lower layers would lose their names with the old root; the mounts stay.
umount /sys
umount /proc
mount --move /dev /root/dev
exec switch_root /root /sbin/init
