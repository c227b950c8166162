#!/bin/busybox sh
# shellcheck shell=dash
# The first program of a virtual machine that auto-ext-vm is tried on: does what it is told over its serial port, a line at a time.

/bin/busybox --install -s /bin
export PATH=/bin

mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
mkdir -p /used
mount -t tmpfs -o size=100% used /used

read -r boot </proc/cmdline
while read -r module; do
	case $boot/$module in *without_balloon_driver*/virtio_balloon*) continue ;; esac
	insmod "/modules/$module"
done </modules/order

# Hundredths of a second since the boot.
clock() {
	read -r now _ </proc/uptime
	hundredths=${now#*.}
	clock=$((${now%.*} * 100 + ${hundredths#0}))
}

# Busy for so many percent of the time, turn by turn.
burn() {
	while :; do
		clock
		end=$((clock + $1 / 2))
		while [ "$clock" -lt "$end" ]; do
			turn=0
			while [ "$turn" -lt 50 ]; do turn=$((turn + 1)); done
			clock
		done
		usleep $(((100 - $1) * 5000))
	done
}

busy=
cpu() {
	[ -z "$busy" ] || kill "$busy"
	busy=
	[ "$1" -gt 0 ] || return 0
	burn "$1" &
	busy=$!
}

# So many MiB more in use every second, up to so many.
grow() {
	step=$1 most=$2
	while [ "$most" -gt 0 ]; do
		dd if=/dev/zero of="/used/$most" bs=1M count="$step" 2>/dev/null || return
		most=$((most - step))
		sleep 1
	done &
}

stty -F /dev/ttyS0 -echo
echo ready >/dev/ttyS0
while :; do
	while read -r command argument other; do
		case $command in
		cpu) cpu "$argument" ;;
		grow) grow "$argument" "$other" ;;
		*) echo "unknown: $command" ;;
		esac
		echo "done: $command"
	done </dev/ttyS0 >/dev/ttyS0 2>&1
done
