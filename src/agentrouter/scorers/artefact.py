"""A trained scorer as a folder of plain data: ``config.json``, ``arrays.npz``, ``card.md`` and ``SHA256SUMS``.

Law: bytes in, checked values out. Every file is compared with its sum before a byte of it is interpreted, nothing is
ever unpickled, and anything wrong is a ``ModelFileError`` that names the artefact and what to do. The caller hands over
a function that reads one file of the folder (``config.artefact_from`` for a folder of the user's); the one reading
done here is that of the package's own resources.
"""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from agentrouter.errors import ModelFileError

FORMAT = 1
CONFIG, ARRAYS, CARD, SUMS = "config.json", "arrays.npz", "card.md", "SHA256SUMS"
NAMES = (CONFIG, ARRAYS, CARD)
MAX_BYTES = 64 << 20
"""Of one file, and of all arrays together when unpacked: a scorer is small, and a small file must not grow large."""

ReadFile = Callable[[str], bytes]
"""Returns the bytes of the file of that name in the folder; raises ``OSError`` where it cannot."""

Array = npt.NDArray[Any]

_SUM_LINE = re.compile(r"([0-9a-f]{64}) [ *](.+)")
_NUMBERS = "biuf"


class ArtefactConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``config.json``."""

    format: int
    scorer: str
    """Name in ``SCORERS``."""
    version: str
    encoding: str
    """Name and version of what turns a step into the model's input; must be the one in this program."""
    columns: tuple[str, ...] = ()
    """Input columns in their order; empty: the input is text or a key."""
    parameters: dict[str, float] = {}
    calibration: tuple[tuple[float, float], ...] = ()
    """(slope, intercept) on the logit of each tier; empty: not calibrated."""
    keys: tuple[str, ...] = ()
    """Names of the rows of a table, where the scorer is one."""
    sources: dict[str, int] = {}
    """Rows of each source that it was fitted on."""
    seed: int = 0


class Artefact:
    """A verified artefact. Equal artefacts have equal digests; the repr shows the digest, not the arrays."""

    def __init__(self, config: ArtefactConfig, arrays: dict[str, Array], digest: str, origin: str) -> None:
        self.config, self.origin, self.digest = config, origin, digest
        self._arrays = arrays

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Artefact) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"Artefact({self.config.scorer}@{self.config.version}:{self.digest[:12]})"

    def expect(self, scorer: str, encoding: str, columns: Sequence[str] = ()) -> None:
        """Check that the artefact was made for this scorer of this program.

        Raises:
            ModelFileError: of another scorer, another encoding, or other input columns or another order of them.
        """
        config = self.config
        if config.scorer != scorer:
            raise _broken(self.origin, f"is of scorer {config.scorer!r}; expected {scorer!r}")
        if config.encoding != encoding:
            raise _broken(self.origin, f"reads its input as {config.encoding!r}, this program as {encoding!r}")
        if config.columns != tuple(columns):
            pairs = zip((*config.columns, "nothing"), (*columns, "nothing"), strict=False)
            at, (got, wanted) = next((i, pair) for i, pair in enumerate(pairs) if pair[0] != pair[1])
            raise _broken(self.origin, f"input column {at} is {got!r}; this program computes {wanted!r} there")

    def array(self, name: str, kind: str, *shape: int | None) -> Array:
        """Return an array after checking its type and shape.

        Args:
            name: of the array.
            kind: numpy's kind letters that will do (``"f"`` floats, ``"iu"`` integers).
            shape: expected lengths; None: any.

        Raises:
            ModelFileError: missing, of another type or of another shape.
        """
        found = self._arrays.get(name)
        if found is None:
            raise _broken(self.origin, f"{ARRAYS} lacks the array {name!r}")
        right = len(found.shape) == len(shape) and all(
            want is None or have == want for have, want in zip(found.shape, shape, strict=True)
        )
        if found.dtype.kind not in kind or not right:
            wanted = "x".join("n" if length is None else str(length) for length in shape)
            raise _broken(self.origin, f"array {name!r} is {found.dtype}{found.shape}; expected {kind}[{wanted}]")
        return found

    def parameter(self, name: str, *, low: float, high: float) -> float:
        """Return a number of the config.

        Raises:
            ModelFileError: missing, or outside [low, high].
        """
        value = self.config.parameters.get(name)
        if value is None or not low <= value <= high:
            raise _broken(self.origin, f"parameters.{name}: expected a number from {low:g} to {high:g}, got {value}")
        return value

    def broken(self, problem: str) -> ModelFileError:
        """Return the error to raise for a problem that the scorer found in its own arrays."""
        return _broken(self.origin, problem)


class ArtefactScorer:
    """What all scorers of an artefact have in common: they are equal when their artefacts are, and show it."""

    artefact: Artefact

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ArtefactScorer) and self.artefact == other.artefact

    def __hash__(self) -> int:
        return hash(self.artefact)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.artefact!r})"


def read_artefact(read: ReadFile, origin: str) -> Artefact:
    """Read and verify an artefact.

    Args:
        read: reads one file of the folder.
        origin: what to call it in messages (a path, or ``shipped:<name>``).

    Raises:
        ModelFileError: a file is missing or too large, a sum is wrong, or the contents are not an artefact.
    """
    sums_bytes = _read(read, SUMS, origin)
    sums = _parsed_sums(sums_bytes, origin)
    contents = {}
    for name in NAMES:
        if name not in sums:
            raise _broken(origin, f"{SUMS} does not list {name}")
        contents[name] = _read(read, name, origin)
        found = hashlib.sha256(contents[name]).hexdigest()
        if found != sums[name]:
            raise _broken(origin, f"{name} has sha256 {found[:12]}..., {SUMS} says {sums[name][:12]}...")
    try:
        config = msgspec.json.decode(contents[CONFIG], type=ArtefactConfig)
    except msgspec.DecodeError as error:
        raise _broken(origin, f"{CONFIG}: {error}") from None
    if config.format != FORMAT:
        raise _broken(origin, f"has format {config.format}; this program reads {FORMAT}")
    # The sums name the contents, so their sum names the whole.
    return Artefact(config, decoded_arrays(contents[ARRAYS], origin), hashlib.sha256(sums_bytes).hexdigest(), origin)


def shipped_artefact(name: str) -> Artefact | None:
    """Read the artefact that ships with the package; None: there is none for this scorer.

    Raises:
        ModelFileError: there is one, and it is damaged.
    """
    from importlib import resources

    folder = resources.files(__package__).joinpath("models").joinpath(name)
    if not folder.joinpath(SUMS).is_file():
        return None
    return read_artefact(lambda file: folder.joinpath(file).read_bytes(), f"shipped:{name}")


def decoded_arrays(data: bytes, origin: str) -> dict[str, Array]:
    """Return the arrays of an ``.npz`` file: numbers only, all finite.

    Raises:
        ModelFileError: truncated, not such a file, too large, an object array, or a NaN or infinity.
    """
    # A member that is not an array comes back as bytes.
    arrays: dict[str, Any] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > MAX_BYTES:
                raise _broken(origin, f"{ARRAYS} unpacks to more than {MAX_BYTES >> 20} MiB")
        with np.load(io.BytesIO(data), allow_pickle=False) as npz:
            for name in npz.files:
                arrays[name] = npz[name]
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile, NotImplementedError) as error:
        raise _broken(origin, f"{ARRAYS} cannot be read: {error}") from None
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray) or array.dtype.kind not in _NUMBERS:
            raise _broken(origin, f"{name!r} in {ARRAYS} is not an array of numbers")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise _broken(origin, f"array {name!r} holds a NaN or an infinity")
    return arrays


def packed(config: ArtefactConfig, arrays: dict[str, Array], card: str) -> dict[str, bytes]:
    """Return the four files of an artefact, the same bytes for the same values.

    Raises:
        ModelFileError: an array that ``read_artefact`` would refuse.
    """
    buffer = io.BytesIO()
    for name, array in arrays.items():
        if array.dtype.kind not in _NUMBERS:
            raise _broken(config.scorer, f"array {name!r} is of type {array.dtype}, not numbers")
    np.savez_compressed(buffer, allow_pickle=False, **{name: arrays[name] for name in sorted(arrays)})
    files = {
        CONFIG: msgspec.json.format(msgspec.json.encode(config, order="sorted"), indent=1) + b"\n",
        ARRAYS: buffer.getvalue(),
        CARD: card.encode("utf-8"),
    }
    decoded_arrays(files[ARRAYS], config.scorer)
    lines = [f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in sorted(files.items())]
    return {**files, SUMS: "".join(lines).encode("ascii")}


def _parsed_sums(data: bytes, origin: str) -> dict[str, str]:
    sums = {}
    for line in data.decode("utf-8", "replace").splitlines():
        match = _SUM_LINE.fullmatch(line)
        if match is None:
            raise _broken(origin, f"{SUMS}: expected lines of sha256 and file name, got {line[:80]!r}")
        digest, name = match.groups()
        # Only the files of an artefact are ever opened, so a name cannot lead out of its folder.
        if name not in NAMES:
            raise _broken(origin, f"{SUMS} names {name!r}; an artefact holds {', '.join(NAMES)}")
        sums[name] = digest
    return sums


def _read(read: ReadFile, name: str, origin: str) -> bytes:
    try:
        data = read(name)
    except FileNotFoundError:
        raise _broken(origin, f"has no file {name}") from None
    except OSError as error:
        raise _broken(origin, f"{name} cannot be read: {error.strerror or error}") from None
    if len(data) > MAX_BYTES:
        raise _broken(origin, f"{name} has {len(data)} bytes; at most {MAX_BYTES} are read")
    return data


def _broken(origin: str, problem: str) -> ModelFileError:
    fix = "reinstall the package" if origin.startswith("shipped:") else "make it anew: agentrouter learn rivals"
    return ModelFileError(f"scorer artefact {origin}: {problem}; {fix}")
