"""Sends segments that have a connection's ends, and numbers by chance: INTERFACE, the recipient's
link-layer address, then address and port of the sender and of the recipient."""
import random
import socket
import struct
import sys

interface, link, source, source_port, destination, destination_port = sys.argv[1:]
FORGED = bytes.fromhex("020000000bad")
family = socket.AF_INET6 if ":" in source else socket.AF_INET
ends = [socket.inet_pton(family, address) for address in (source, destination)]


def checksum(octets):
    octets += b"\0" * (len(octets) % 2)
    total = sum(struct.unpack(f"!{len(octets) // 2}H", octets))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def segment():
    def header(sum_of_it):
        numbers = (sequence, acknowledged, 5 << 4, 0x18, 4096, sum_of_it, 0)
        return struct.pack("!HHIIBBHHH", int(source_port), int(destination_port), *numbers)

    sequence, acknowledged = random.getrandbits(32), random.getrandbits(32)
    payload = b"forged"
    length = 20 + len(payload)
    pseudo = ends[0] + ends[1] + struct.pack("!II", length, socket.IPPROTO_TCP)
    return header(checksum(pseudo + header(0) + payload)) + payload


def packet(tcp):
    if family == socket.AF_INET6:
        return struct.pack("!IHBB", 6 << 28, len(tcp), socket.IPPROTO_TCP, 64) + b"".join(ends) + tcp
    head = struct.pack("!BBHHHBB", 0x45, 0, 20 + len(tcp), 7, 0, 64, socket.IPPROTO_TCP)
    sum_of_it = checksum(head + b"\0\0" + b"".join(ends))
    return head + struct.pack("!H", sum_of_it) + b"".join(ends) + tcp


ethertype = b"\x86\xdd" if family == socket.AF_INET6 else b"\x08\x00"
frames = bytes.fromhex(link.replace(":", "")) + FORGED + ethertype
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as card:
    card.bind((interface, 0))
    for _ in range(1000):
        card.send(frames + packet(segment()))
