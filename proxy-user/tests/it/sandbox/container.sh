# Runs a program as scripts/kubernetes/base/daemonset.yaml has a container runtime do it: process 1
# of its own process namespace, on the node's network, with two capabilities, with the node's BPF
# file system and its folder for sockets, with everything else read-only, sysctls and cgroups as well.
#
# Arguments: the folder that is /run/foreword, the program, its arguments.
set -eu
if [ "${INSIDE-}" != yes ]; then
    export INSIDE=yes
    exec unshare --mount --pid --cgroup --ipc --uts --fork --kill-child -- sh "$0" "$@"
fi
run=$1
shift
mount --make-rprivate /
mount -t proc proc /proc
mount --bind /proc/sys /proc/sys
mount -o remount,bind,ro /proc/sys
cgroup=$(findmnt --noheadings --first-only --output TARGET --types cgroup2)
# Mounted anew, as this cgroup namespace has it, which can't be done on top of the old one.
umount "$cgroup"
mount -t cgroup2 -o ro cgroup2 "$cgroup"
mount -t tmpfs tmpfs /run
mkdir /run/foreword
mount --bind "$run" /run/foreword
mount -o remount,bind,ro /
exec setpriv --bounding-set=-all,+net_admin,+sys_admin --inh-caps=-all -- "$@"
