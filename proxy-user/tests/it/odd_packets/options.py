"""A client whose packets carry IPv4 options, or IPv6 extension headers.

Arguments: its own address and port, then the other side's. It sends `hello`, closes its direction,
and prints what comes back.
"""

import socket
import sys

source, source_port, destination, port = sys.argv[1:]

# No operation; then record route, with room for one address.
IP_OPTIONS = bytes([1, 7, 7, 4, 0, 0, 0, 0])
# Next header and length, which the kernel and the 8 octets settle; then padding.
HOP_BY_HOP = bytes([0, 0, 1, 4, 0, 0, 0, 0])
# 16 octets long: an option for experiments, to be skipped by those who don't know it.
DESTINATION = bytes([0, 1, 0x1E, 12, *[0] * 12])

if ":" in source:
    client = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    client.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_HOPOPTS, HOP_BY_HOP)
    client.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_DSTOPTS, DESTINATION)
else:
    client = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    client.setsockopt(socket.IPPROTO_IP, socket.IP_OPTIONS, IP_OPTIONS)

client.settimeout(10)
client.bind((source, int(source_port)))
client.connect((destination, int(port)))
client.sendall(b"hello")
client.shutdown(socket.SHUT_WR)
while received := client.recv(4096):
    sys.stdout.buffer.write(received)
