#!/bin/sh
# A support bundle of what Foreword has in the kernel: a few text files in one archive, which you should
# read before you send it. It asks the kernel, through bpftool, and needs no running Foreword.
#
# Usage: bpf-diagnose.sh [--measure SECONDS] [FILE.tar.gz | -]
#
#   FILE.tar.gz          where the bundle goes; foreword-diagnose-TIME.tar.gz here by default
#   -                    everything on standard output instead
#   --measure SECONDS    have the kernel time programs for that long (kernel.bpf_stats_enabled, which
#                        costs some nanoseconds per packet, and is restored)
#
# Nothing else is changed. Left out on purpose: addresses of clients, load balancers and hosts,
# link-layer addresses, the configuration except for its ports, the host's name, command lines,
# environments, logs, and everything about other programs except their names, kinds and order on the
# interfaces. Of maps that hold addresses (connections, rates, trusted ranges, destinations, paths)
# the bundle has the number of entries.
set -eu
umask 077

fail() {
    printf 'error: %s\n' "$1" >&2
    exit "${2-1}"
}

usage() {
    fail "$1; usage: bpf-diagnose.sh [--measure SECONDS] [FILE.tar.gz | -]" 2
}

measure=0
target=
while [ $# -gt 0 ]; do
    case $1 in
        -h | --help)
            sed -n '2,/^set -eu$/{/^#/s/^#\{1\} \{0,1\}//p;}' "$0"
            exit
            ;;
        --measure)
            [ $# -gt 1 ] || usage '--measure needs a number of seconds'
            measure=$2
            case $measure in
                *[!0-9]* | '' | 0) usage "--measure '$measure' is not a number of seconds, such as 10" ;;
            esac
            shift
            ;;
        -?*) usage "there is no $1" ;;
        *)
            [ -z "$target" ] || usage "one file is written, not both $target and $1"
            target=$1
            ;;
    esac
    shift
done
[ -n "$target" ] || target=foreword-diagnose-$(date -u +%Y%m%dT%H%M%SZ).tar.gz

[ "$(id -u)" -eq 0 ] || fail 'programs and maps are shown to root only: run it with sudo'
command -v bpftool >/dev/null ||
    fail 'bpftool is not installed (Debian: bpftool; Fedora: bpftool; Ubuntu: linux-tools-common)'

timing=/proc/sys/kernel/bpf_stats_enabled
timed_before=$(cat "$timing" 2>/dev/null || echo absent)
folder=$(mktemp -d)
clean() {
    rm -rf "$folder"
    [ "$measure" -eq 0 ] || [ "$timed_before" = absent ] || echo "$timed_before" >"$timing"
}
trap clean EXIT
trap 'exit 1' HUP INT TERM

# What can't be found out is reported in its place, and doesn't stop the rest.
try() {
    "$@" 2>&1 || printf '(not available: %s)\n' "$*"
}

# Numbers of our programs (prog) or maps (map).
ours() {
    bpftool "$1" show | awk '/^[0-9]+:.* name foreword_/ { sub(":", "", $1); print $1 }'
}

system() {
    printf 'time          %s\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)"
    printf 'kernel        %s %s\n' "$(uname -r)" "$(uname -m)"
    printf 'system        %s\n' "$(sed -n 's/^PRETTY_NAME="\(.*\)"$/\1/p' /etc/os-release 2>/dev/null)"
    printf 'bpftool       %s\n' "$(bpftool version | head -n 1)"
    printf 'cpus          %s\n' "$(getconf _NPROCESSORS_ONLN)"
    printf 'bpffs         %s\n' "$(awk '$3 == "bpf" { print $2 }' /proc/mounts | tr '\n' ' ')"
    printf 'cgroup2       %s\n' "$(awk '$3 == "cgroup2" { print $2 }' /proc/mounts | tr '\n' ' ')"
    printf 'BTF           %s\n' "$([ -r /sys/kernel/btf/vmlinux ] && echo yes || echo no)"
    printf '\nsysctls\n'
    for name in net/core/bpf_jit_enable kernel/unprivileged_bpf_disabled kernel/bpf_stats_enabled \
        net/ipv4/tcp_syncookies net/ipv4/ip_forward net/ipv4/conf/all/rp_filter \
        net/ipv6/conf/all/forwarding net/core/somaxconn net/ipv4/tcp_max_syn_backlog; do
        value=$(cat "/proc/sys/$name" 2>/dev/null) || value=absent
        printf '  %-38s%s\n' "$(echo $name | tr / .)" "$value"
    done
}

# An instance is alive as long as it holds the lock on its folder.
instances() {
    found=no
    for pins in /sys/fs/bpf/foreword/[0-9]*; do
        [ -d "$pins" ] || continue
        found=yes
        state='alive or dead? there is no flock to tell'
        if command -v flock >/dev/null; then
            state=alive
            flock --shared --nonblock "$pins" true 2>/dev/null && state='dead: `foreword cleanup` removes it'
        fi
        printf 'instance %s: %s\n' "${pins##*/}" "$state"
    done
    [ $found = yes ] || echo 'no instance has pins in /sys/fs/bpf/foreword'
    printf '\npins\n'
    find /sys/fs/bpf/foreword 2>/dev/null | sort
}

programs() {
    for id in $(ours prog); do
        try bpftool prog show id "$id"
    done
}

maps() {
    for id in $(ours map); do
        try bpftool map show id "$id"
        # Only counted: the entries themselves are not kept.
        entries=$(bpftool -j map dump id "$id" 2>/dev/null | grep -o '"formatted":' | wc -l)
        printf '\tentries %s\n' "$entries"
        # The types of key and value, without what a header file has around them.
        bpftool btf dump map id "$id" kv format c 2>/dev/null | sed -n '/^\(struct\|union\|enum\).*{$/,/^}/s/^/\t/p'
        echo
    done
}

# Links, each with the name of our program.
links() {
    names=$(bpftool prog show | awk '/^[0-9]+:.* name foreword_/ {
        sub(":", "", $1)
        for (i = 2; i < NF; i++) if ($i == "name") print $1 "=" $(i + 1)
    }')
    bpftool link show | awk -v names="$names" '
        BEGIN { count = split(names, pairs, "\n"); for (i = 1; i <= count; i++) {
            split(pairs[i], pair, "="); name[pair[1]] = pair[2] } }
        /^[0-9]+:/ {
            is_ours = 0
            for (i = 2; i < NF; i++) if ($i == "prog" && $(i + 1) in name) {
                is_ours = 1
                $0 = $0 " " name[$(i + 1)]
            }
        }
        is_ours { print }'
    echo
    echo "(bpftool before 7.3 calls tcx links 'type 11', and does not say of which interface)"
}

# Names of the interfaces here; /sys/class/net may be that of another network namespace.
devices() {
    awk -F : 'NR > 2 { gsub(" ", "", $1); print $1 }' /proc/self/net/dev
}

# Other programs run before and after ours: only their names and order.
net() {
    try bpftool net show
    for device in $(devices); do
        for direction in ingress egress; do
            filters=$(tc filter show dev "$device" "$direction" 2>/dev/null | grep -w bpf | grep -w handle) || continue
            printf '%s %s\n%s\n' "$device" "$direction" "$filters"
        done
    done
}

# Without their addresses.
interfaces() {
    drivers=
    for device in $(devices); do
        driver=$(ethtool -i "$device" 2>/dev/null | sed -n 's/^driver: //p')
        drivers="$drivers$device=${driver:--} "
    done
    ip -o link show | awk -v drivers="$drivers" '
        BEGIN {
            format = "%-16s %6s %-12s %6s %-8s %12s %8s %12s %8s\n"
            printf format, "name", "index", "driver", "mtu", "state", "rx", "dropped", "tx", "dropped"
            count = split(drivers, pairs, " ")
            for (i = 1; i <= count; i++) { split(pairs[i], pair, "="); driver[pair[1]] = pair[2] }
            while ((getline line <"/proc/self/net/dev") > 0) {
                sub(":", " ", line)
                split(line, field, " ")
                counts[field[1]] = field[3] " " field[5] " " field[11] " " field[13]
            }
        }
        {
            name = $2
            sub(":", "", $1); sub("[@:].*", "", name)
            mtu = state = "-"
            for (i = 3; i < NF; i++) {
                if ($i == "mtu") mtu = $(i + 1)
                if ($i == "state") state = $(i + 1)
            }
            split(counts[name], number, " ")
            printf format, name, $1, driver[name], mtu, state, number[1], number[2], number[3], number[4]
        }'
}

# A map's entries by the field names of its types, one object or number a line.
fields() {
    bpftool -j map dump id "$1" | sed 's/"formatted":/\n&/g' | grep '^"formatted"'
}

counters() {
    for id in $(ours map); do
        case $(bpftool map show id "$id") in
            *' name foreword_stats '*)
                printf 'packets, all CPUs together (map %s)\n' "$id"
                fields "$id" | tr '{},' '\n\n\n' | awk -F : '
                    /^"[a-z_]+":[0-9]+$/ && $1 != "\"key\"" && $1 != "\"cpu\"" {
                        gsub("\"", "", $1)
                        if (!($1 in sum)) order[++count] = $1
                        sum[$1] += $2
                    }
                    END { for (i = 1; i <= count; i++) printf "  %-24s %d\n", order[i], sum[order[i]] }'
                ;;
            *' name foreword_reason '*)
                printf 'refused, by reason: connections, first packets (map %s)\n' "$id"
                fields "$id" | awk '{
                    match($0, /"name":\[[0-9,]*\]/)
                    count = split(substr($0, RSTART + 8, RLENGTH - 9), codes, ",")
                    name = ""
                    for (i = 1; i <= count && codes[i] > 0; i++) name = name sprintf("%c", codes[i] + 0)
                    match($0, /"connections":[0-9]+/)
                    connections = substr($0, RSTART + 14, RLENGTH - 14)
                    packets = match($0, /"packets":[0-9]+/) ? substr($0, RSTART + 10, RLENGTH - 10) : 0
                    if (connections + packets > 0) printf "  %-24s %s %s\n", name, connections, packets
                }'
                ;;
            *' name foreword_rules '* | *' name foreword_held '*)
                bpftool map show id "$id" | awk 'NR == 1 { sub(":", "", $1); print $4 " (map " $1 ")" }'
                bpftool map dump id "$id"
                ;;
            *) continue ;;
        esac
        echo
    done
}

# Runs and nanoseconds of each of our programs, from when the kernel was asked to count.
runs() {
    bpftool prog show | awk '/^[0-9]+:.* name foreword_/ {
        sub(":", "", $1)
        name = ""; time = 0; runs = 0
        for (i = 2; i < NF; i++) {
            if ($i == "name") name = $(i + 1)
            if ($i == "run_time_ns") time = $(i + 1)
            if ($i == "run_cnt") runs = $(i + 1)
        }
        print $1, name, time, runs
    }'
}

statistics() {
    if [ "$timed_before" = absent ]; then
        echo 'this kernel does not time programs'
        return
    fi
    if [ "$measure" -eq 0 ]; then
        : >"$folder/.before"
        [ "$timed_before" = 0 ] &&
            printf '%s\n%s\n' 'the kernel does not time programs now, and what is here is of when it did:' \
                'run this with --measure 10 while there is traffic'
    else
        echo 1 >"$timing"
        runs >"$folder/.before"
        sleep "$measure"
    fi
    runs >"$folder/.after"
    printf '%-8s %-16s %12s %10s\n' program name runs 'ns per run'
    awk 'NR == FNR && FILENAME == before { time[$1] = $3; runs[$1] = $4; next }
        { delta = $4 - runs[$1]
          each = delta > 0 ? sprintf("%.0f", ($3 - time[$1]) / delta) : "-"
          printf "%-8s %-16s %12d %10s\n", $1, $2, delta, each }' \
        before="$folder/.before" "$folder/.before" "$folder/.after"
}

sections='system instances programs maps links net interfaces counters statistics'
for section in $sections; do
    "$section" >"$folder/$section.txt" 2>&1 || echo '(not all of it is available)' >>"$folder/$section.txt"
done
rm -f "$folder/.before" "$folder/.after"

if [ "$target" = - ]; then
    for section in $sections; do
        printf '=== %s\n' "$section"
        cat "$folder/$section.txt"
        echo
    done
else
    tar -C "$folder" -czf "$target" .
    printf '%s: %s\n' "$target" "$(echo "$sections" | sed 's/[a-z]*/&.txt/g')"
fi
