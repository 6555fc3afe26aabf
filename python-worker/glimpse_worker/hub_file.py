"""One file of a model on the hub, fetched into the hub's cache so that the next start can continue it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url
from huggingface_hub.errors import FileMetadataError
from huggingface_hub.file_download import http_get, repo_folder_name
from huggingface_hub.hf_api import RepoSibling
from huggingface_hub.utils import WeakFileLock, build_hf_headers

from .download_progress import ByteCounter, CountedFile
from .failure import WorkerFailure


@dataclass(frozen=True, slots=True)
class HubFile:
    """
    A file at one commit. `size` is in bytes, None where the hub does not tell it.

    The hub's own downloader gives what arrives a new name every time and empties it first, over HTTP and over
    Xet, so what a killed process had is lost. Here a file comes over plain HTTP, which the hub speaks for
    every file up to 50 GB however it is stored, into one name per etag. The hub gave such a name up because
    some network file systems grant a lock to everybody; there, two workers that start at once on an empty
    cache may spoil each other's download, which the digest then finds out.
    """

    name: str
    url: str
    etag: str
    size: int | None
    blob: Path
    lock: Path

    @property
    def partial(self) -> Path:
        return self.blob.with_name(f"{self.blob.name}.incomplete")

    def arrived(self) -> int:
        """How many bytes need not be fetched."""
        if self.blob.exists():
            return self.size or 0
        if self.size is None or not self.partial.exists():
            return 0
        there = self.partial.stat().st_size
        return there if there <= self.size else 0

    def fetch(self, token: str | None, counted: int, counter: ByteCounter) -> None:
        """
        Puts the file into the cache, of which the blob is a part; the snapshot is not linked to it yet.

        `counted` is what `counter` was told has arrived. Waits while another process fetches the same file.
        Raises MODEL_DOWNLOAD_FAILED when the bytes are not those of the etag, or what the hub's client
        raises.
        """
        self.lock.parent.mkdir(parents=True, exist_ok=True)
        self.blob.parent.mkdir(parents=True, exist_ok=True)
        with WeakFileLock(self.lock):
            arrived = self.arrived()
            counter.add(arrived - counted)
            if self.blob.exists():
                return
            if arrived == 0:
                self.partial.write_bytes(b"")
            with CountedFile(self.partial, counter) as file:
                http_get(
                    self.url,
                    file,
                    resume_size=arrived,
                    # The client drops the token when it is redirected to another origin. Half a file can be
                    # continued only where it is not compressed on its way.
                    headers=build_hf_headers(token=token) | {"Accept-Encoding": "identity"},
                    expected_size=self.size,
                    displayed_filename=self.name,
                )
            self._check_digest()
            os.replace(self.partial, self.blob)

    def _check_digest(self) -> None:
        with self.partial.open("rb") as file:
            digest = _digest_of(self.etag, self.partial.stat().st_size)
            if digest is None or hashlib.file_digest(file, digest).hexdigest() == self.etag:
                return
        os.truncate(self.partial, 0)
        raise WorkerFailure(
            "MODEL_DOWNLOAD_FAILED",
            f"{self.name} arrived damaged from {constants.ENDPOINT}: its hash is not {self.etag}",
            hint="Try again: this file will be fetched from its beginning.",
        )


def find_file(model: str, sibling: RepoSibling, commit: str | None, token: str | None) -> HubFile:
    """Asks the hub where a file of `model` is and what it is called in the cache."""
    url = hf_hub_url(model, sibling.rfilename, revision=commit)
    metadata = get_hf_file_metadata(url, token=token, retry_on_errors=True)
    if metadata.etag is None:
        raise FileMetadataError(f"{constants.ENDPOINT} sends no ETag with {sibling.rfilename}")
    cache = Path(constants.HF_HUB_CACHE).expanduser().resolve()
    folder = repo_folder_name(repo_id=model, repo_type="model")
    return HubFile(
        name=sibling.rfilename,
        url=url,
        etag=metadata.etag,
        size=metadata.size if metadata.size is not None else sibling.size,
        blob=cache / folder / "blobs" / metadata.etag,
        lock=cache / ".locks" / folder / f"{metadata.etag}.lock",
    )


def _digest_of(etag: str, size: int) -> Callable[[], Any] | None:
    """The hub's etags: SHA-256 of a large file, git's own hash of a small one. A mirror may have others."""
    match len(etag):
        case 64:
            return hashlib.sha256
        case 40:
            return lambda: hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
        case _:
            return None
