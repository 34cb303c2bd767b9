#!/bin/sh
# The first process of a kernel under test: mounts what the tests need, runs them, and ends the
# machine. The kernel's own messages go to the first serial line, the tests' to the second.
# A module is loaded when something asks for it, as on any machine.
export PATH=/bin CI=true
mount -t devtmpfs devtmpfs /dev
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t bpf bpf /sys/fs/bpf
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ip link set lo up

# One line, split at its blanks.
read -r arguments </arguments
it $arguments </dev/null >/dev/ttyS1 2>&1
# An emulated CPU takes a hundred times as long for each packet.
FOREWORD_PACKETS=2000 packets $arguments </dev/null >/dev/ttyS1 2>&1

# A reset, which ends the machine.
echo b >/proc/sysrq-trigger
