#!/bin/sh
# Gives drives and ports the names that udev would.

mkdir -p /dev/disk/by-id /dev/virtio-ports
for disk in /sys/block/vd*; do
	ln -sf "/dev/${disk##*/}" "/dev/disk/by-id/virtio-$(cat "$disk/serial")"
done
for port in /sys/class/virtio-ports/*; do
	# A machine with its console on a terminal has none.
	[ -e "$port" ] || continue
	ln -sf "/dev/${port##*/}" "/dev/virtio-ports/$(cat "$port/name")"
done
