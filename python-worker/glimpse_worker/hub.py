"""A checkpoint by its id on the Hugging Face hub → a directory in the hub's own cache."""

from __future__ import annotations

import errno
import re
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatch
from pathlib import Path

import huggingface_hub
from huggingface_hub import constants
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import RepoSibling
from huggingface_hub.utils.tqdm import disable_progress_bars

from .download_progress import ByteCounter, ReportBytes
from .failure import WorkerFailure
from .hub_file import find_file

# Weights as safetensors only, and the texts around them: never a pickle, never code. And nothing in folders,
# where some repositories keep the same weights in other formats.
_ALLOW = ["*.safetensors", "*.json", "*.jinja", "*.txt"]
_IGNORE = ["*/*"]
_CONNECTIONS = 4
_TOKEN_HINT = "pass a token that may read it (`hubToken`, or the environment's HF_TOKEN)."


def download(
    model: str,
    revision: str | None,
    token: str | None,
    check_config: Callable[[Path], None],
    report: ReportBytes,
) -> Path:
    """
    The directory with the files of `model` at `revision` (its last commit if None), named by that commit.

    Files that are in the cache already are not fetched again, half a file is continued even if the process
    that began it was killed, and where the hub cannot be reached a complete cache will do. `check_config`
    sees config.json before the weights are asked for. Raises INVALID_REQUEST for a token that is none,
    MODEL_NOT_FOUND, MODEL_UNSUPPORTED, DISK_FULL or MODEL_DOWNLOAD_FAILED.
    """
    disable_progress_bars()
    token = _checked(token)
    try:
        return _download(model, revision, token, check_config, report)
    except WorkerFailure:
        raise
    except Exception as error:
        failure = _named(error, model, revision)
        failure.secret = token or huggingface_hub.get_token()
        raise failure from error


def _download(
    model: str,
    revision: str | None,
    token: str | None,
    check_config: Callable[[Path], None],
    report: ReportBytes,
) -> Path:
    try:
        info = huggingface_hub.HfApi(token=token).model_info(model, revision=revision, files_metadata=True)
    except (RepositoryNotFoundError, RevisionNotFoundError, HFValidationError):
        raise
    except Exception:
        cached = _cached(model, revision)
        if cached is None:
            raise
        return cached
    files = [file for file in info.siblings or () if _is_wanted(file.rfilename)]
    if any(file.rfilename == "config.json" for file in files):
        check_config(
            Path(huggingface_hub.hf_hub_download(model, "config.json", revision=info.sha, token=token))
        )
    missing = [file for file in files if not _in_cache(model, file.rfilename, info.sha)]
    if missing:
        _fetch(model, info.sha, token, missing, report)
    # Everything is in the cache now; this links the snapshot to what was fetched, and notes which commit the
    # revision stands for, so that it is found offline.
    return Path(
        huggingface_hub.snapshot_download(
            model, revision=revision, token=token, allow_patterns=_ALLOW, ignore_patterns=_IGNORE
        )
    )


def _fetch(
    model: str, commit: str | None, token: str | None, missing: Sequence[RepoSibling], report: ReportBytes
) -> None:
    pool = ThreadPoolExecutor(_CONNECTIONS, thread_name_prefix="download")
    try:
        files = list(pool.map(lambda file: find_file(model, file, commit, token), missing))
        arrived = [file.arrived() for file in files]
        total = sum(file.size or 0 for file in files)
        _check_disk(model, total - sum(arrived))
        counter = ByteCounter(sum(arrived), total, report)
        for _ in pool.map(lambda file, counted: file.fetch(token, counted, counter), files, arrived):
            pass
    finally:
        # Not waiting: what failed is said at once, while the other files are still on their way.
        pool.shutdown(wait=False, cancel_futures=True)


def _checked(token: str | None) -> str | None:
    """A token as it goes into a header, without the white space that comes with copying it."""
    token = token.strip() if token is not None else None
    if token and not re.fullmatch("[!-~]+", token):
        raise WorkerFailure(
            "INVALID_REQUEST",
            "hubToken: expected printable ASCII characters, got others among them",
            hint="Copy the token once more; it begins with hf_.",
        )
    return token or None


def _is_wanted(file: str) -> bool:
    return "/" not in file and any(fnmatch(file, pattern) for pattern in _ALLOW)


def _in_cache(model: str, file: str, commit: str | None) -> bool:
    return isinstance(huggingface_hub.try_to_load_from_cache(model, file, revision=commit), str)


def _cached(model: str, revision: str | None) -> Path | None:
    try:
        return Path(
            huggingface_hub.snapshot_download(
                model,
                revision=revision,
                local_files_only=True,
                allow_patterns=_ALLOW,
                ignore_patterns=_IGNORE,
            )
        )
    except FileNotFoundError:
        return None


def _check_disk(model: str, needed: int) -> None:
    place = Path(constants.HF_HUB_CACHE).expanduser().absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < needed:
        raise _disk_full(f"{model} needs {needed} bytes more, and {place} has {free} bytes free")


def _disk_full(message: str) -> WorkerFailure:
    return WorkerFailure(
        "DISK_FULL", message, hint="Free some space, or set HF_HOME to a directory on a larger disk."
    )


def _named(error: Exception, model: str, revision: str | None) -> WorkerFailure:
    hub = f"the hub at {constants.ENDPOINT}"
    if isinstance(error, RevisionNotFoundError):
        return WorkerFailure(
            "MODEL_NOT_FOUND",
            f"{model} has no revision {revision!r}",
            hint="Name a branch, a tag or a commit of it.",
        )
    if isinstance(error, GatedRepoError):
        return WorkerFailure(
            "MODEL_NOT_FOUND",
            f"{hub} gives {model} only to those who were granted access",
            hint=f"Ask for access on the model's page, then {_TOKEN_HINT}",
        )
    if isinstance(error, RepositoryNotFoundError | HFValidationError):
        return WorkerFailure(
            "MODEL_NOT_FOUND",
            f"{Path(model).absolute()} is no directory, and {hub} shows no model {model} to this caller",
            hint=f"Check the spelling; if the model is private, {_TOKEN_HINT}",
        )
    if isinstance(error, HfHubHTTPError) and error.response.status_code in (401, 403):
        return WorkerFailure(
            "MODEL_NOT_FOUND",
            f"{hub} refused the token: {_first_line(error)}",
            hint=f"To read {model}, {_TOKEN_HINT}",
        )
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return _disk_full(f"the disk became full while {model} was being downloaded")
    return WorkerFailure(
        "MODEL_DOWNLOAD_FAILED",
        f"{model} could not be downloaded from {constants.ENDPOINT}: "
        f"{type(error).__name__}: {_first_line(error)}",
        hint="Try again: what has arrived is kept. Behind a mirror, set HF_ENDPOINT. "
        f"If you meant a directory: there is none at {Path(model).absolute()}.",
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0]
