# Installs the Debian packages given as arguments. A service that comes with one of them is neither
# started now nor enabled for later: the lab runs its own copies, in its own namespaces.
set -eu
export DEBIAN_FRONTEND=noninteractive

# Packages ask this file whether they may start a service. One that is there already is the
# machine's own, and stays. Ours works only as long as this script runs, even if it is left behind.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ] || grep -q 'by cargo xtask setup' "$policy"; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 130' HUP INT TERM
    cat >"$policy" <<END
#!/bin/sh
# Written by cargo xtask setup, and removed by it.
grep -qs 'by cargo xtask setup' /proc/$$/cmdline && exit 101
exit 0
END
    chmod 755 "$policy"
fi

# apt-get waits for the lock of dpkg, but not for that of the package lists. Old lists may do, too.
attempts=0
until apt-get -q update; do
    attempts=$((attempts + 1))
    [ "$attempts" -lt 4 ] || break
    sleep 5
done

apt-get -q -y -o DPkg::Lock::Timeout=120 install --no-install-recommends "$@"

for service in nginx haproxy; do
    case " $* " in
        *" $service "*) update-rc.d "$service" disable || true ;;
    esac
done
