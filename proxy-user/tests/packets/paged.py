"""Sends frames, one in hexadecimal a line of stdin, in such a way that the kernel keeps all of a frame
but its Ethernet header in pages: by a ring that is shared with it (PACKET_TX_RING).

Argument: the interface.
"""

import mmap
import socket
import struct
import sys

SOL_PACKET, PACKET_VERSION, PACKET_TX_RING, TPACKET_V2 = 263, 10, 13, 1
STATUS_AVAILABLE, STATUS_SEND_REQUEST = 0, 1
# Where a frame begins behind its header, a `struct tpacket2_hdr`.
DATA = 32
FRAME, FRAMES = 2048, 2

ring_socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
ring_socket.setsockopt(SOL_PACKET, PACKET_VERSION, struct.pack("i", TPACKET_V2))
request = struct.pack("IIII", FRAME * FRAMES, 1, FRAME, FRAMES)
ring_socket.setsockopt(SOL_PACKET, PACKET_TX_RING, request)
ring = mmap.mmap(ring_socket.fileno(), FRAME * FRAMES)
ring_socket.bind((sys.argv[1], 0))

for number, line in enumerate(sys.stdin):
    frame = bytes.fromhex(line)
    at = number % FRAMES * FRAME
    while struct.unpack_from("I", ring, at)[0] != STATUS_AVAILABLE:
        pass
    ring[at + DATA : at + DATA + len(frame)] = frame
    struct.pack_into("I", ring, at + 4, len(frame))
    struct.pack_into("I", ring, at, STATUS_SEND_REQUEST)
    ring_socket.send(b"")
