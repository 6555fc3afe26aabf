"""The command `python -P -m glimpse_worker`, which the library runs."""

from __future__ import annotations

import sys

from . import __version__
from .guard import guard_group
from .lifecycle import (
    EXIT_BAD_START,
    EXIT_PACKAGE_MISSING,
    die_with_parent,
    leave,
    leave_with,
    read_start_line,
)

VERSION = f"glimpse_worker {__version__} (Python {sys.version.split()[0]})"
PACKAGES = ("torch", "transformers", "pyzmq", "msgspec", "pillow")
NEEDED_TO_SPEAK = {"msgspec": "msgspec", "zmq": "pyzmq"}
"""Modules without which no message can be sent, and the packages that hold them."""


def main() -> None:
    # Before everything else: what is imported until then is imported while a dead parent goes unnoticed.
    die_with_parent()
    _show_stacks()
    _parse_arguments()
    # Before the line, which has secrets in it, and before there are threads.
    guard_group()
    line = read_start_line()
    _set_up_logging()
    for module, package in NEEDED_TO_SPEAK.items():
        try:
            __import__(module)
        except ImportError as error:
            leave(
                EXIT_PACKAGE_MISSING,
                f"the Python package {package} cannot be imported ({error}). "
                "Run `npx glimpse setup`, or install it into the interpreter that `python` names.",
            )
    _work(line)


def _work(line: bytes) -> None:
    from .protocol import InvalidMessage, decode_start
    from .worker import Worker

    try:
        start = decode_start(line)
    except InvalidMessage as error:
        leave(EXIT_BAD_START, str(error))
    leave_with(start.parent_pid)
    Worker(start).run()


def _parse_arguments() -> None:
    import argparse

    class PackageVersions(argparse.Action):
        """Prints the help, with the versions that only a reader of the help waits for."""

        def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
            parser.epilog = f"{VERSION}\n{_package_versions()}"
            parser.print_help()
            parser.exit()

    parser = argparse.ArgumentParser(
        prog="python -P -m glimpse_worker",
        description=(
            "The worker process of Glimpse: holds the model on one device and generates.\n"
            "The library starts it and speaks to it over sockets; it is of no use by hand.\n"
            "It reads one JSON line from stdin and ends when stdin ends."
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
    )
    parser.add_argument("--help", "-h", action=PackageVersions, nargs=0, help="show this text and leave")
    parser.add_argument("--version", action="version", version=VERSION, help="show the version and leave")
    parser.parse_args()


def _package_versions() -> str:
    from importlib.metadata import PackageNotFoundError, version

    def line(package: str) -> str:
        try:
            return f"  {package} {version(package)}"
        except PackageNotFoundError:
            return f"  {package} is not installed"

    return "\n".join(map(line, PACKAGES))


def _show_stacks() -> None:
    """
    After a crash in C, and whenever SIGUSR1 comes, the Python stacks of all threads go to stderr: nothing
    else can be learned of a worker that hangs.
    """
    import faulthandler
    import signal

    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1, all_threads=True, chain=False)


def _set_up_logging() -> None:
    """
    Logs and the warnings of libraries go to stderr.

    From WARNING on: at INFO, HTTP clients log every URL, signed ones of downloads too.
    """
    import logging

    line = "%(levelname)s %(name)s: %(message)s"
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format=line)
    logging.captureWarnings(True)


if __name__ == "__main__":
    main()
