"""One worker from `hello` to its end."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Sequence
from typing import Literal, NoReturn, assert_never

from .engine.interface import Emit, Engine
from .failure import WorkerFailure, failed
from .heartbeat import Heartbeats
from .lifecycle import EXIT_FAILED, EXIT_OK, leave
from .protocol import (
    PROTOCOL_VERSION,
    Cancel,
    ControlToWorker,
    Counted,
    CountTokens,
    DataFromWorker,
    DataToWorker,
    Done,
    Error,
    Fault,
    Frame,
    Generate,
    Hello,
    Loading,
    LoadingStage,
    PagedEngine,
    Progress,
    ReferenceEngine,
    RequestKey,
    ScriptedEngine,
    Shutdown,
    Start,
)
from .transport import Transport

logger = logging.getLogger(__name__)

SWITCH_INTERVAL_S = 0.0005
"""How long the model's thread may keep the transport's waiting; Python's own 5 ms delays every cancel."""
REMEMBERED_CANCELS = 1000
"""Many more than there are requests on their way; most are of requests that had ended."""


class Worker:
    """Connects the transport with the engine."""

    def __init__(self, start: Start) -> None:
        self._start = start
        self._engine: Engine | None = None
        self._cancels: dict[RequestKey, Literal[True]] = {}
        self._on_board: set[RequestKey] = set()
        self._transport = Transport(
            start.control,
            start.data,
            on_control=self._on_control,
            on_data=self._on_data,
        )
        self._heartbeats = Heartbeats(start.heartbeat_ms, self._transport.send_control)

    def run(self) -> None:
        """Says hello, loads the engine on this thread, and reports how that went; then serves until the
        process ends.
        """
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        transport_thread = threading.Thread(target=self._serve, name="transport")
        transport_thread.start()
        start = self._start
        self._transport.send_control(
            Hello(protocol=PROTOCOL_VERSION, generation=start.generation, token=start.token, pid=os.getpid())
        )
        self._heartbeats.start()
        try:
            _check_protocol(start)
            self._engine = load_engine(start, self._progress, self._emit)
            self._heartbeats.watch(self._engine)
        except BaseException as error:
            self._transport.send_control(failed(error))
            self._transport.close(EXIT_FAILED)
        else:
            self._transport.send_control(self._engine.ready)
        transport_thread.join()

    def _serve(self) -> NoReturn:
        """Its end is the end of the process: loading, or a step, may be hanging on the other threads."""
        try:
            code = self._transport.serve()
        except BaseException:
            logger.exception("the transport broke")
            code = EXIT_FAILED
        leave(code)

    def _progress(self, stage: LoadingStage, done: int | None, total: int | None) -> None:
        self._heartbeats.progressed()
        self._transport.send_control(Loading(stage=stage, done=done, total=total))

    def _emit(self, message: DataFromWorker | Fault) -> None:
        if isinstance(message, Fault):
            self._transport.send_control(message)
            self._transport.close(EXIT_FAILED)
            return
        if isinstance(message, Counted | Done | Error):
            self._on_board.discard(message.key)
        self._transport.send_data(message)

    def _on_control(self, message: ControlToWorker) -> None:
        match message:
            case Cancel():
                self._remember_cancel(message.key)
                if self._engine is not None:
                    self._engine.cancel(message.key)
                    self._engine.counter.cancel(message.key)
            case Shutdown():
                if self._engine is not None:
                    self._engine.close()
                self._transport.close(EXIT_OK)
            case _:
                assert_never(message)

    def _on_data(self, request: DataToWorker, frames: Sequence[Frame]) -> None:
        if self._engine is None:
            self._refuse(f"request {request.request} came before `ready`")
        elif request.key in self._on_board:
            self._refuse(f"request {request.request}, attempt {request.attempt}, is on board already")
        else:
            self._on_board.add(request.key)
            self._take(self._engine, request, frames)

    def _take(self, engine: Engine, request: DataToWorker, frames: Sequence[Frame]) -> None:
        match request:
            case Generate():
                engine.submit(request, frames)
            case CountTokens():
                engine.counter.count(request, frames)
            case _:
                assert_never(request)
        if self._cancels.pop(request.key, False):
            engine.cancel(request.key)
            engine.counter.cancel(request.key)

    def _refuse(self, message: str) -> None:
        self._emit(Fault(reason="frame refused", message=message))

    def _remember_cancel(self, key: RequestKey) -> None:
        """Two sockets have no common order, so a cancel may overtake its request."""
        self._cancels[key] = True
        if len(self._cancels) > REMEMBERED_CANCELS:
            del self._cancels[next(iter(self._cancels))]


def load_engine(start: Start, progress: Progress, emit: Emit) -> Engine:
    """The engine that the start line asks for; what it needs is imported here, not earlier."""
    match start.engine:
        case PagedEngine():
            progress("import", None, None)
            from .engine.paged.loading import load_paged

            return load_paged(start, start.engine, progress, emit)
        case ReferenceEngine():
            progress("import", None, None)
            from .engine.reference import load_reference

            return load_reference(start, start.engine, progress, emit)
        case ScriptedEngine():
            from .engine.scripted import load_scripted

            return load_scripted(start, start.engine, progress, emit)
        case _:
            assert_never(start.engine)


def _check_protocol(start: Start) -> None:
    if start.protocol != PROTOCOL_VERSION:
        raise WorkerFailure(
            "PROTOCOL_MISMATCH",
            f"the library speaks protocol version {start.protocol}, this worker {PROTOCOL_VERSION}",
            "Use the glimpse_worker that came with the library, or run `npx glimpse setup`.",
        )
