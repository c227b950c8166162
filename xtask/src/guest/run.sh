#!/bin/sh
# Runs the command of this run and tells the host, over two ports of their own, what the command
# writes and how it ends. The console belongs to the kernel.

here=/usr/libexec/auto-ext-machine
exec 3>/dev/virtio-ports/status
read -r up _ </proc/uptime
echo "started $up" >&3

# A pipe, and not the port itself, which can be opened only once. A soft reboot keeps what is in /run.
rm -f /run/auto-ext-machine-output
mkfifo /run/auto-ext-machine-output
cat /run/auto-ext-machine-output >/dev/virtio-ports/output &
"$here/command" >/run/auto-ext-machine-output 2>&1 3>&- </dev/null
status=$?

# The copy ends with the last writer. A process that the command left behind may hold on to the
# pipe: what the command itself wrote is through by then.
for _ in 1 2 3 4 5 6 7 8 9 10; do
	kill -0 $! 2>/dev/null || break
	sleep 0.1
done
echo "exit $status" >&3
# The host switches the machine off.
sleep 60
systemctl poweroff --force
