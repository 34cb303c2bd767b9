"""Sends a TCP segment in two fragments.

Arguments: what the segment does (SYN or ACK), how many octets of it the first fragment has, the
address and port that it comes from, then those that it goes to.
"""

import socket
import struct
import sys

kind, split, source, source_port, destination, port = sys.argv[1:]
family = socket.AF_INET6 if ":" in source else socket.AF_INET
source, address = socket.inet_pton(family, source), socket.inet_pton(family, destination)

FLAGS = {"SYN": 0x02, "ACK": 0x10}[kind]
IDENTIFICATION = 0x4242
# Where the second fragment begins. 8 is before the flags.
SPLIT = int(split)


def checksum(octets):
    total = sum(struct.unpack(f"!{len(octets) // 2}H", octets))
    while total > 0xFFFF:
        total = (total >> 16) + (total & 0xFFFF)
    return ~total & 0xFFFF


def segment():
    """20 octets of header and 12 of options, none of which means anything."""
    ports = struct.pack("!HH", int(source_port), int(port))

    def with_checksum(value):
        return ports + struct.pack("!IIBBHHH", 1, 0, 8 << 4, FLAGS, 64000, value, 0) + b"\1" * 12

    pseudo_header = source + address + struct.pack("!II", 32, socket.IPPROTO_TCP)
    return with_checksum(checksum(pseudo_header + with_checksum(0)))


def ipv4(part, offset, more):
    """The kernel fills in length and checksum."""
    place = offset // 8 | (0x2000 if more else 0)
    return struct.pack("!BBHHHBBH", 0x45, 0, 0, IDENTIFICATION, place, 64, socket.IPPROTO_TCP, 0) \
        + source + address + part


def ipv6(part, offset, more):
    fragment = struct.pack("!BBHI", socket.IPPROTO_TCP, 0, offset | more, IDENTIFICATION) + part
    return struct.pack("!IHBB", 6 << 28, len(fragment), socket.IPPROTO_FRAGMENT, 64) \
        + source + address + fragment


packet = ipv4 if family == socket.AF_INET else ipv6
whole = segment()
raw = socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW)
raw.sendto(packet(whole[:SPLIT], 0, True), (destination, 0))
raw.sendto(packet(whole[SPLIT:], SPLIT, False), (destination, 0))
