"""
Downloads from a hub on this machine, each by a process of its own with an empty cache, as a newcomer's
would be.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import worker_process
from embedded import MODEL as EMBEDDED
from huggingface_hub.constants import DOWNLOAD_CHUNK_SIZE
from local_hub import COMMIT, MODEL, OLD_NAME, TOKEN, LocalHub, local_hub
from worker_process import WorkerProcess, environment

from glimpse_worker.protocol import Hello, Loading, Ready

PATIENCE_S = 300
"""Importing torch takes its time, on a processor that is shared with others many times as long."""

DOWNLOAD = """
import json, shutil, sys, collections
from pathlib import Path
from glimpse_worker.failure import WorkerFailure, failed
from glimpse_worker.hub import download

model, revision, token, free = json.loads(sys.argv[1])
if free is not None:
    usage = collections.namedtuple("usage", "total used free")
    shutil.disk_usage = lambda path: usage(10**12, 10**12 - free, free)

def check_config(path):
    if json.loads(path.read_text())["model_type"] != "glm4v":
        raise WorkerFailure("MODEL_UNSUPPORTED", "another architecture")

said = []
try:
    answer = {"path": str(download(model, revision, token, check_config, lambda *x: said.append(x)))}
except WorkerFailure as failure:
    sent = failed(failure)
    answer = {"code": sent.code, "message": sent.message, "hint": sent.hint, "traceback": sent.traceback}
print(json.dumps(answer | {"said": said}))
"""


@pytest.fixture
def hub() -> Iterator[LocalHub]:
    with local_hub(EMBEDDED) as started:
        yield started


def run(program: str, argument: object, hub: LocalHub, home: Path, **environment: str) -> dict[str, Any]:
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("HF_") and "proxy" not in name.lower()
    }
    result = subprocess.run(
        [sys.executable, "-c", program, json.dumps(argument)],
        cwd=Path(__file__).parents[1],
        env=clean | {"HF_ENDPOINT": hub.url, "HF_HOME": str(home)} | environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert result.returncode == 0, result.stderr
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer | {"stderr": result.stderr}


def download(
    hub: LocalHub,
    home: Path,
    model: str = MODEL,
    revision: str | None = None,
    token: str | None = None,
    free: int | None = None,
    **environment: str,
) -> dict[str, Any]:
    return run(DOWNLOAD, [model, revision, token, free], hub, home, **environment)


def checkpoint_files(directory: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(directory).iterdir()}


def test_a_checkpoint_is_downloaded_with_the_bytes_done_and_in_all(hub: LocalHub, tmp_path: Path) -> None:
    answer = download(hub, tmp_path)
    assert checkpoint_files(answer["path"]) == hub.files
    assert Path(answer["path"]).name == COMMIT
    total = sum(len(data) for name, data in hub.files.items() if name != "config.json")
    assert answer["said"][0] == [0, total]
    assert answer["said"][-1] == [total, total]
    assert [done for done, _ in answer["said"]] == sorted(done for done, _ in answer["said"])
    assert answer["stderr"] == ""


def test_pickles_and_code_are_never_asked_for(hub: LocalHub, tmp_path: Path) -> None:
    unwanted = {
        "pytorch_model.bin",
        "training_args.pt",
        "modeling_glm4v.py",
        "README.md",
        "original/a.safetensors",
    }
    hub.files |= dict.fromkeys(unwanted, b"x")
    answer = download(hub, tmp_path)
    assert not unwanted & {*hub.downloads()}
    assert "config.json" in checkpoint_files(answer["path"])


def test_what_is_in_the_cache_is_not_downloaded_again(hub: LocalHub, tmp_path: Path) -> None:
    first = download(hub, tmp_path)
    hub.requests.clear()
    again = download(hub, tmp_path)
    assert again["path"] == first["path"]
    assert (hub.downloads(), again["said"]) == ([], [])


def test_the_name_of_the_article_is_followed_to_where_the_model_lives_now(
    hub: LocalHub, tmp_path: Path
) -> None:
    answer = download(hub, tmp_path, model=OLD_NAME)
    assert checkpoint_files(answer["path"]) == hub.files


def test_a_connection_that_breaks_in_the_middle_of_a_file_is_resumed(hub: LocalHub, tmp_path: Path) -> None:
    hub.break_after = 12_000_000
    answer = download(hub, tmp_path)
    assert checkpoint_files(answer["path"]) == hub.files
    ranges = hub.ranges_of("model.safetensors")
    assert ranges[0] is None
    assert len(ranges) == 2
    assert ranges[1] is not None
    assert 0 < int(ranges[1].removeprefix("bytes=").rstrip("-")) <= 12_000_000
    assert answer["said"][-1][0] == answer["said"][-1][1]


def half_of_the_weights(hub: LocalHub, home: Path) -> Path:
    """Where a process that was killed leaves what it had."""
    digest = hashlib.sha256(hub.files["model.safetensors"]).hexdigest()
    return home / "hub" / f"models--{MODEL.replace('/', '--')}" / "blobs" / f"{digest}.incomplete"


def leave_half(hub: LocalHub, home: Path, content: bytes) -> None:
    half = half_of_the_weights(hub, home)
    half.parent.mkdir(parents=True)
    half.write_bytes(content)


def test_a_killed_download_is_continued_by_the_next_worker(
    hub: LocalHub, tmp_path: Path, socket_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_process, "PATIENCE_S", PATIENCE_S)
    options: dict[str, Any] = {
        "model": MODEL,
        "engine": {"kind": "reference"},
        "env": environment() | {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path)},
    }
    weights = hub.files["model.safetensors"]
    rest = sum(len(data) for name, data in hub.files.items() if name != "config.json") - len(weights)
    hub.hold_after = 12_000_000
    with closing(WorkerProcess(socket_directory, **options)) as worker:
        worker.expect(Hello)
        while worker.expect(Loading).done != rest + DOWNLOAD_CHUNK_SIZE:
            pass
        worker.process.kill()
        worker.exit_code()
    arrived = half_of_the_weights(hub, tmp_path).stat().st_size
    assert arrived == DOWNLOAD_CHUNK_SIZE

    hub.hold_after = None
    hub.requests.clear()
    with closing(WorkerProcess(socket_directory, **options)) as worker:
        worker.expect(Hello)
        said: list[Loading] = []
        while isinstance(message := worker.next_control(), Loading):
            said.append(message)
        assert isinstance(message, Ready)
        assert "http" not in worker.log
    downloads = [loading for loading in said if loading.stage == "download"]
    assert (downloads[0].done, downloads[0].total) == (rest + arrived, rest + len(weights))
    assert downloads[-1].done == downloads[-1].total
    assert hub.downloads() == ["model.safetensors"]
    assert hub.ranges_of("model.safetensors") == [f"bytes={arrived}-"]
    assert list(tmp_path.rglob("*.incomplete")) == []
    (snapshot,) = (tmp_path / "hub").glob("models--*/snapshots/*")
    assert checkpoint_files(str(snapshot)) == hub.files


def test_a_server_that_does_not_continue_files_sends_them_whole(hub: LocalHub, tmp_path: Path) -> None:
    leave_half(hub, tmp_path, hub.files["model.safetensors"][:1_000_000])
    hub.ranges = False
    answer = download(hub, tmp_path)
    assert checkpoint_files(answer["path"]) == hub.files
    total = sum(len(data) for name, data in hub.files.items() if name != "config.json")
    assert (answer["said"][0], answer["said"][-1]) == ([1_000_000, total], [total, total])


def test_half_a_file_that_is_not_the_beginning_of_the_whole_is_found_out(
    hub: LocalHub, tmp_path: Path
) -> None:
    leave_half(hub, tmp_path, b"x" * 1000)
    answer = download(hub, tmp_path)
    assert answer["code"] == "MODEL_DOWNLOAD_FAILED"
    assert "model.safetensors arrived damaged" in answer["message"]
    assert checkpoint_files(download(hub, tmp_path)["path"]) == hub.files


def test_more_than_the_whole_of_a_file_is_fetched_anew(hub: LocalHub, tmp_path: Path) -> None:
    leave_half(hub, tmp_path, hub.files["model.safetensors"] + b"x")
    assert checkpoint_files(download(hub, tmp_path)["path"]) == hub.files


def test_all_of_a_file_that_was_not_yet_put_in_its_place_is_not_fetched_again(
    hub: LocalHub, tmp_path: Path
) -> None:
    leave_half(hub, tmp_path, hub.files["model.safetensors"])
    assert checkpoint_files(download(hub, tmp_path)["path"]) == hub.files
    assert hub.ranges_of("model.safetensors") == []


def test_two_workers_that_start_at_once_download_once(hub: LocalHub, tmp_path: Path) -> None:
    with ThreadPoolExecutor() as pool:
        both = list(pool.map(lambda _: download(hub, tmp_path), range(2)))
    assert [checkpoint_files(answer["path"]) == hub.files for answer in both] == [True, True]
    assert hub.ranges_of("model.safetensors") == [None]


def test_the_token_does_not_follow_a_redirect_to_another_host(hub: LocalHub, tmp_path: Path) -> None:
    hub.private = True
    leave_half(hub, tmp_path, hub.files["model.safetensors"][:1_000_000])
    with local_hub(EMBEDDED) as storage:
        # The hub's client takes other ports of a host for the same host.
        storage.url = storage.url.replace("127.0.0.1", "localhost")
        hub.storage = storage
        answer = download(hub, tmp_path, token=TOKEN)
        assert checkpoint_files(answer["path"]) == hub.files
        requests = zip(hub.requests, hub.tokens, strict=True)
        assert {token for (_, path, _), token in requests if MODEL in path} == {f"Bearer {TOKEN}"}
        assert storage.ranges_of("model.safetensors") == ["bytes=1000000-"]
        assert {*storage.tokens} == {None}


def test_without_a_network_a_complete_cache_will_do(hub: LocalHub, tmp_path: Path) -> None:
    first = download(hub, tmp_path)
    hub.url = "http://127.0.0.1:9"
    assert download(hub, tmp_path)["path"] == first["path"]
    assert download(hub, tmp_path, HF_HUB_OFFLINE="1")["path"] == first["path"]


def test_without_a_network_and_without_a_cache_the_download_fails_by_name(
    hub: LocalHub, tmp_path: Path
) -> None:
    hub.url = "http://127.0.0.1:9"
    answer = download(hub, tmp_path)
    assert answer["code"] == "MODEL_DOWNLOAD_FAILED"
    assert MODEL in answer["message"]
    assert hub.url in answer["message"]
    assert "HF_ENDPOINT" in answer["hint"]
    assert f"there is none at {Path(MODEL).absolute()}" in answer["hint"]


def test_an_unknown_id_is_no_model_and_no_directory(hub: LocalHub, tmp_path: Path) -> None:
    answer = download(hub, tmp_path, model="nobody/nothing")
    assert answer["code"] == "MODEL_NOT_FOUND"
    assert f"{Path(__file__).parents[1] / 'nobody' / 'nothing'} is no directory" in answer["message"]
    assert "HF_TOKEN" in answer["hint"]


def test_a_private_model_needs_the_token_that_was_passed(hub: LocalHub, tmp_path: Path) -> None:
    hub.private = True
    refused = download(hub, tmp_path)
    assert refused["code"] == "MODEL_NOT_FOUND"
    assert "private" in refused["hint"]
    assert "HF_TOKEN" in refused["hint"]
    assert checkpoint_files(download(hub, tmp_path, token=TOKEN)["path"]) == hub.files


def test_a_token_may_have_white_space_around_it(hub: LocalHub, tmp_path: Path) -> None:
    hub.private = True
    answer = download(hub, tmp_path, token=f" {TOKEN}\n")
    assert checkpoint_files(answer["path"]) == hub.files


@pytest.mark.parametrize("token", ["hf_se\ncret", "hf_sécret", "hf_se cret", "hf_\0cret"])
def test_a_token_that_cannot_be_sent_is_refused_and_not_repeated(
    hub: LocalHub, tmp_path: Path, token: str
) -> None:
    answer = download(hub, tmp_path, token=token)
    assert (answer["code"], hub.requests) == ("INVALID_REQUEST", [])
    assert answer["message"].startswith("hubToken: expected")
    assert "cret" not in json.dumps(answer)


def test_a_token_in_an_error_of_the_hub_is_not_sent_on(hub: LocalHub, tmp_path: Path) -> None:
    hub.url = "ftp://hf_secret"
    answer = download(hub, tmp_path, token=TOKEN)
    assert answer["code"] == "MODEL_DOWNLOAD_FAILED"
    assert "ftp://***" in answer["message"]
    assert TOKEN not in json.dumps(answer)
    from_environment = download(hub, tmp_path, HF_TOKEN=TOKEN)
    assert TOKEN not in json.dumps(from_environment)


def test_a_gated_model_says_so(hub: LocalHub, tmp_path: Path) -> None:
    hub.gated = True
    answer = download(hub, tmp_path)
    assert answer["code"] == "MODEL_NOT_FOUND"
    assert "granted access" in answer["message"]


def test_an_unknown_revision_is_named(hub: LocalHub, tmp_path: Path) -> None:
    answer = download(hub, tmp_path, revision="v9")
    assert answer["code"] == "MODEL_NOT_FOUND"
    assert f"{MODEL} has no revision 'v9'" in answer["message"]


def test_a_commit_can_be_asked_for(hub: LocalHub, tmp_path: Path) -> None:
    assert Path(download(hub, tmp_path, revision=COMMIT)["path"]).name == COMMIT


def test_a_disk_that_is_too_small_is_named_before_the_download(hub: LocalHub, tmp_path: Path) -> None:
    needed = sum(len(data) for name, data in hub.files.items() if name != "config.json")
    answer = download(hub, tmp_path, free=needed - 1)
    assert answer["code"] == "DISK_FULL"
    assert f"needs {needed} bytes more" in answer["message"]
    assert f"has {needed - 1} bytes free" in answer["message"]
    assert hub.downloads() == ["config.json"]


def test_what_is_on_the_disk_already_needs_no_room(hub: LocalHub, tmp_path: Path) -> None:
    needed = sum(len(data) for name, data in hub.files.items() if name != "config.json")
    leave_half(hub, tmp_path, hub.files["model.safetensors"][:1_000_000])
    assert "path" in download(hub, tmp_path, free=needed - 1_000_000)


def test_another_architecture_is_refused_before_its_weights_are_downloaded(
    hub: LocalHub, tmp_path: Path
) -> None:
    hub.files["config.json"] = b'{"model_type": "llama"}'
    assert download(hub, tmp_path)["code"] == "MODEL_UNSUPPORTED"
    assert hub.downloads() == ["config.json"]


LOAD = """
import json, sys
sys.path.insert(0, "tests")
from embedded import start_line
from glimpse_worker.engine.reference import load_reference

said = []
start = start_line(json.loads(sys.argv[1]))
engine = load_reference(start, start.engine, lambda *x: said.append(x), print)
ready = engine.ready
stages = [stage for stage, _, _ in said]
print(json.dumps({"revision": ready.revision, "model": ready.model, "stages": stages}))
engine.close()
"""


def test_a_model_is_loaded_by_its_id(hub: LocalHub, tmp_path: Path) -> None:
    answer = run(LOAD, MODEL, hub, tmp_path)
    assert (answer["model"], answer["revision"]) == (MODEL, COMMIT)
    assert answer["stages"][0] == "download"
    assert answer["stages"][-1] == "weights"
    assert answer["stderr"] == ""
