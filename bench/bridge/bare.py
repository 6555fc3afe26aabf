"""
The bare peer: pyzmq and nothing else, with the loop that a minimal program would have.

    python -m bench.bridge.bare ENDPOINT

Each message is a command as JSON, and the answer to it ends with the stamps, as those of `stamping`. With
frames behind the command it notes when they were there. Else it sends so many messages, one each pause.
"""

from __future__ import annotations

import sys
import time

import msgspec
import zmq

from .stamping import Asked, Stamps


class Command(Asked, frozen=True):
    bytes: int = 0
    """Of each message."""


def main() -> None:
    context = zmq.Context()
    dealer = context.socket(zmq.DEALER)
    dealer.connect(sys.argv[1])
    dealer.send(b"")
    while True:
        header, *_ = dealer.recv_multipart(copy=False)
        received = time.monotonic_ns()
        command = msgspec.json.decode(header.buffer, type=Command)
        payload = bytes(command.bytes)
        emitted = []
        for _ in range(command.tokens):
            time.sleep(command.pause_s)
            emitted.append(time.monotonic_ns())
            dealer.send(payload)
        time.sleep(command.pause_s)
        dealer.send(msgspec.json.encode(Stamps(received, emitted)))


if __name__ == "__main__":
    main()
