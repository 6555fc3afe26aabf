"""The sockets. One thread owns both; everything else hands it messages. Nothing else imports zmq."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Literal

import zmq

from .lifecycle import EXIT_FAILED
from .protocol import (
    MAX_FILE_BYTES,
    MAX_HEADER_BYTES,
    ControlFromWorker,
    ControlToWorker,
    DataFromWorker,
    DataToWorker,
    Fault,
    Frame,
    InvalidMessage,
    decode_control,
    decode_data,
    encode,
)

LINGER_MS = 1000
"""How long the last messages may take to be delivered."""

Dealer = zmq.Socket[bytes]
Outgoing = tuple[Literal["control", "data"], bytes] | int
"""A packed message, or the exit code that closes the transport."""
OnControl = Callable[[ControlToWorker], None]
OnData = Callable[[DataToWorker, Sequence[Frame]], None]


class Transport:
    """Two DEALER sockets, connected to the endpoints that the orchestrator has bound.

    Messages leave in the order in which they were enqueued. `on_control` and `on_data` are called on the
    thread that runs `serve` and must not block. A frame that is no message is answered with `fault`, and ends
    `serve`.
    """

    def __init__(self, control: str, data: str, *, on_control: OnControl, on_data: OnData) -> None:
        self._control = control
        self._data = data
        self._on_control = on_control
        self._on_data = on_data
        self._outbox: SimpleQueue[Outgoing] = SimpleQueue()
        self._wake, self._awoken = socket.socketpair()
        self._wake.setblocking(False)

    def send_control(self, message: ControlFromWorker) -> None:
        """Enqueues a message; never blocks; safe to call from any thread."""
        self._enqueue(("control", encode(message)))

    def send_data(self, message: DataFromWorker) -> None:
        """Enqueues a message; never blocks; safe to call from any thread."""
        self._enqueue(("data", encode(message)))

    def close(self, code: int) -> None:
        """Ends `serve` with this code after everything enqueued before; safe to call from any thread."""
        self._enqueue(code)

    def serve(self) -> int:
        """Sends and receives until `close`; gives its code once all is delivered, LINGER_MS later at most."""
        with zmq.Context() as context:
            control = _connect(context, self._control, MAX_HEADER_BYTES)
            data = _connect(context, self._data, MAX_FILE_BYTES)
            code = self._serve(control, data)
            control.close()
            data.close()
        self._wake.close()
        self._awoken.close()
        return code

    def _enqueue(self, item: Outgoing) -> None:
        self._outbox.put(item)
        # When the pipe is full, a wake-up is under way already; when it is closed, so is the transport.
        with contextlib.suppress(OSError):
            self._wake.send(b"\0")

    def _serve(self, control: Dealer, data: Dealer) -> int:
        poller = zmq.Poller()
        for source in (control, data, self._awoken):
            poller.register(source, zmq.POLLIN)
        while True:
            ready = dict(poller.poll())
            if self._awoken.fileno() in ready:
                self._awoken.recv(4096)
            while not self._outbox.empty():
                item = self._outbox.get()
                if isinstance(item, int):
                    return item
                channel, frame = item
                (control if channel == "control" else data).send(frame)
            try:
                if control in ready:
                    self._on_control(_receive_control(control))
                if data in ready:
                    self._on_data(*_receive_data(data))
            except InvalidMessage as error:
                control.send(encode(Fault(reason="frame refused", message=str(error))))
                return EXIT_FAILED


def _connect(context: zmq.Context[Dealer], endpoint: str, max_frame_bytes: int) -> Dealer:
    dealer = context.socket(zmq.DEALER)
    dealer.linger = LINGER_MS
    # A larger frame cuts the connection without a word, so the orchestrator has to refuse it first.
    dealer.setsockopt(zmq.MAXMSGSIZE, max_frame_bytes)
    # No high-water mark, so that a send neither blocks nor drops: what the requests on board may still
    # generate bounds the queue, as the orchestrator bounds how many there are.
    dealer.sndhwm = 0
    dealer.rcvhwm = 0
    dealer.connect(endpoint)
    return dealer


def _receive_control(dealer: Dealer) -> ControlToWorker:
    frames = dealer.recv_multipart(copy=False)
    if len(frames) != 1:
        raise InvalidMessage(f"a message on the control channel has one frame, this one has {len(frames)}")
    return decode_control(frames[0].buffer)


def _receive_data(dealer: Dealer) -> tuple[DataToWorker, list[Frame]]:
    header, *media = (frame.buffer for frame in dealer.recv_multipart(copy=False))
    request = decode_data(header)
    announced, came = request.frame_sizes(), [len(frame) for frame in media]
    if len(announced) != len(came):
        raise InvalidMessage(
            f"request {request.request} announces {len(announced)} media frames, {len(came)} came"
        )
    for index, (expected, size) in enumerate(zip(announced, came, strict=True)):
        if expected != size:
            raise InvalidMessage(
                f"request {request.request}: media frame {index} should have {expected} bytes and has {size}"
            )
    return request, list(media)
