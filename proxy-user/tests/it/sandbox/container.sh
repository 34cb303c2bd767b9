#!/bin/sh
# Runs a program as scripts/kubernetes/base/daemonset.yaml has a container runtime do it: process 1
# of its own process namespace, on the node's network, with two capabilities, with the node's BPF
# file system, with sysctls, cgroups and everything else read-only.
#
# Arguments: those of the program, which FOREWORD names.
set -eu
if [ "${INSIDE-}" != yes ]; then
    export INSIDE=yes
    exec unshare --mount --pid --cgroup --ipc --uts --fork --kill-child -- "$0" "$@"
fi
mount --make-rprivate /
mount -t proc proc /proc
mount --bind /proc/sys /proc/sys
mount -o remount,bind,ro /proc/sys
cgroup=$(findmnt --noheadings --first-only --output TARGET --types cgroup2)
# Mounted anew, as this cgroup namespace has it, which can't be done on top of the old one.
umount "$cgroup"
mount -t cgroup2 -o ro cgroup2 "$cgroup"
mount -o remount,bind,ro /
exec setpriv --bounding-set=-all,+net_admin,+sys_admin --inh-caps=-all -- "$FOREWORD" "$@"
