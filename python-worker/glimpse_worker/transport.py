"""The sockets: each thread sends by itself, one receives, a lock keeps them apart. Only this imports zmq."""

from __future__ import annotations

import contextlib
import logging
import select
import socket
import threading
from collections.abc import Callable, Sequence

import zmq

from .lifecycle import EXIT_FAILED
from .protocol import (
    MAX_HEADER_BYTES,
    MAX_MEDIA_BYTES,
    ControlFromWorker,
    ControlToWorker,
    DataFromWorker,
    Fault,
    Frame,
    Generate,
    InvalidMessage,
    decode_control,
    decode_data,
    encode,
)

logger = logging.getLogger(__name__)

LINGER_MS = 1000
"""How long the last messages may take to be delivered."""

Dealer = zmq.Socket[bytes]
OnControl = Callable[[ControlToWorker], None]
OnGenerate = Callable[[Generate, Sequence[Frame]], None]


class Transport:
    """Two DEALER sockets, connected to the endpoints that the orchestrator has bound.

    Messages leave in the order in which they were sent. `on_control` and `on_generate` are called on the
    thread that runs `serve` and must not block. A frame that is no message is answered with `fault`, and ends
    `serve`; so does one that is too large to be received, for which ZeroMQ cuts the connection.

    A message leaves on the thread that sends it: to hand each token to another thread takes as long as to
    send it. libzmq allows that as long as the sockets are never used by two threads at once, hence the lock;
    so `serve` waits for their file descriptors, not for the sockets themselves.
    """

    def __init__(self, control: str, data: str, *, on_control: OnControl, on_generate: OnGenerate) -> None:
        self._on_control = on_control
        self._on_generate = on_generate
        self._context: zmq.Context[Dealer] = zmq.Context()
        self._lock = threading.Lock()
        self._control = _connect(self._context, control, MAX_HEADER_BYTES)
        self._data = _connect(self._context, data, MAX_MEDIA_BYTES)
        self._code: int | None = None
        self._wake, self._awoken = socket.socketpair()
        self._wake.setblocking(False)

    def send_control(self, message: ControlFromWorker) -> None:
        """Never blocks; safe to call from any thread."""
        self._send(self._control, encode(message))

    def send_data(self, message: DataFromWorker) -> None:
        """Never blocks; safe to call from any thread."""
        self._send(self._data, encode(message))

    def close(self, code: int) -> None:
        """Ends `serve` with this code, if it is the first; nothing is sent any more. Never blocks; safe to
        call from any thread.
        """
        with self._lock:
            if self._code is None:
                self._code = code
                self._awake()

    def serve(self) -> int:
        """Receives until `close`; gives its code once all is delivered, LINGER_MS later at most."""
        code = self._receive_until_closed()
        self._control.close()
        self._data.close()
        self._context.term()
        self._wake.close()
        self._awoken.close()
        return code

    def _send(self, dealer: Dealer, frame: bytes) -> None:
        with self._lock:
            if self._code is not None:
                return
            try:
                dealer.send(frame, zmq.DONTWAIT)
            except zmq.Again:
                # Without a high-water mark that means: without a connection. `serve` finds out which.
                self._awake()
                return
            # It may have taken in that a message has come, or that the connection was cut, which the file
            # descriptor then no longer tells.
            if int(dealer.get(zmq.EVENTS)) != zmq.POLLOUT:
                self._awake()

    def _awake(self) -> None:
        # When the pipe is full, a wake-up is under way already; when it is closed, `serve` has ended.
        with contextlib.suppress(OSError):
            self._wake.send(b"\0")

    def _receive_until_closed(self) -> int:
        poller = select.poll()
        for source in (self._control, self._data, self._awoken):
            poller.register(source.fileno(), select.POLLIN)
        while self._code is None:
            try:
                if (control := self._receive(self._control)) is not None:
                    self._on_control(_decode_control(control))
                if (data := self._receive(self._data)) is not None:
                    self._on_generate(*_decode_generate(data))
            except InvalidMessage as error:
                self.send_control(Fault(reason="frame refused", message=str(error)))
                self.close(EXIT_FAILED)
                continue
            if control is None and data is None and self._may_wait():
                ready = poller.poll()
                if (self._awoken.fileno(), select.POLLIN) in ready:
                    self._awoken.recv(4096)
        return self._code

    def _may_wait(self) -> bool:
        """
        Whether there is nothing to receive, and both channels have a connection; ends it all if one has none
        any more. One that is being made anew has: without a high-water mark it takes messages all the time.
        """
        with self._lock:
            control, data = (int(it.get(zmq.EVENTS)) for it in (self._control, self._data))
        if control & data & zmq.POLLOUT:
            # To ask takes in what has come since, and the file descriptors do not tell of it any more.
            return not (control | data) & zmq.POLLIN
        channel, limit = ("data", MAX_MEDIA_BYTES) if control & zmq.POLLOUT else ("control", MAX_HEADER_BYTES)
        message = f"the {channel} channel was cut, as by a frame of more than {limit} bytes"
        logger.error("%s; the worker leaves", message)
        self.send_control(Fault(reason="frame refused", message=message))
        self.close(EXIT_FAILED)
        return False

    def _receive(self, dealer: Dealer) -> list[zmq.Frame] | None:
        """The frames of a message that is there."""
        with self._lock:
            try:
                return dealer.recv_multipart(zmq.DONTWAIT, copy=False)
            except zmq.Again:
                return None


def _connect(context: zmq.Context[Dealer], endpoint: str, max_frame_bytes: int) -> Dealer:
    dealer = context.socket(zmq.DEALER)
    dealer.linger = LINGER_MS
    # A larger frame cuts the connection for good, so the orchestrator has to refuse it first.
    dealer.setsockopt(zmq.MAXMSGSIZE, max_frame_bytes)
    # No high-water mark, so that a send neither blocks nor drops: what the requests on board may still
    # generate bounds the queue, as the orchestrator bounds how many there are.
    dealer.sndhwm = 0
    dealer.rcvhwm = 0
    dealer.connect(endpoint)
    return dealer


def _decode_control(frames: Sequence[zmq.Frame]) -> ControlToWorker:
    if len(frames) != 1:
        raise InvalidMessage(f"a message on the control channel has one frame, this one has {len(frames)}")
    return decode_control(frames[0].buffer)


def _decode_generate(frames: Sequence[zmq.Frame]) -> tuple[Generate, list[Frame]]:
    header, *media = (frame.buffer for frame in frames)
    request = decode_data(header)
    announced, came = request.frame_sizes(), [len(frame) for frame in media]
    if len(announced) != len(came):
        raise InvalidMessage(
            f"generate {request.request} announces {len(announced)} media frames, {len(came)} came"
        )
    for index, (expected, size) in enumerate(zip(announced, came, strict=True)):
        if expected != size:
            raise InvalidMessage(
                f"generate {request.request}: media frame {index} should have {expected} bytes and has {size}"
            )
    return request, list(media)
