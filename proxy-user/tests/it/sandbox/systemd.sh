# Becomes systemd, with nothing of this machine's that it could change: in namespaces of its own, in
# a root folder in memory, where programs and libraries are read-only and no unit is known but the
# one under test. That matters: systemd with a machine's own units and root would clean its /tmp and
# set its sysctls.
#
# Arguments: an empty folder, the program, the unit, its configuration. New are the namespaces of
# mounts, processes, cgroups, IPC and names; the network's is the node's.
set -eu
root=$1 program=$2 unit=$3 config=$4

mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs "$root"
cd "$root"
mkdir -p usr etc proc sys dev run tmp root old var/tmp
for link in bin sbin lib lib64; do ln -s "usr/$link" "$link"; done
mount --bind /usr usr
mount -o remount,bind,ro usr
mount -t tmpfs -o mode=755 tmpfs usr/local
mkdir -p usr/local/bin etc/foreword
cp "$program" usr/local/bin/foreword
cp "$config" etc/foreword/config.yaml
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t bpf bpf sys/fs/bpf
mount -t tmpfs -o mode=755 tmpfs dev
for device in null zero full random urandom; do
    touch "dev/$device"
    mount --bind "/dev/$device" "dev/$device"
done
ln -s pts/ptmx dev/ptmx
mount -t tmpfs -o mode=755 tmpfs run
mkdir -p run/units/foreword@.service.d
cp "$unit" run/units/foreword@.service
# The only additions: without units that are not there, and with a journal of our own.
cat >run/units/foreword@.service.d/test.conf <<'END'
[Unit]
DefaultDependencies=no
[Service]
StandardOutput=append:/run/output-%i
StandardError=inherit
END
printf '[Unit]\nDefaultDependencies=no\nWants=foreword@one.service\n' >run/units/test.target
echo 'root:x:0:0:root:/root:/bin/sh' >etc/passwd
echo 'root:x:0:' >etc/group
echo '0123456789abcdef0123456789abcdef' >etc/machine-id

pivot_root . old
umount -l old
rmdir old
export container=test SYSTEMD_UNIT_PATH=/run/units SYSTEMD_GENERATOR_PATH=/run/none
export SYSTEMD_ENVIRONMENT_GENERATOR_PATH=/run/none
exec /usr/lib/systemd/systemd --system --unit=test.target --show-status=no --log-target=null
