"""Reading artefacts: what is wrong with a folder is said, and nothing of it is used."""

from __future__ import annotations

import hashlib
import io
import pickle
import zipfile

import msgspec
import numpy as np
import pytest

from agentrouter.errors import ModelFileError
from agentrouter.scorers.artefact import (
    ARRAYS,
    CARD,
    CONFIG,
    SUMS,
    ArtefactConfig,
    packed,
    read_artefact,
    shipped_artefact,
)

SETUP = ArtefactConfig(format=1, scorer="toy", version="1", encoding="toy/1", columns=("a", "b"), parameters={"k": 3})


def folder() -> dict[str, bytes]:
    return packed(SETUP, {"weight": np.array([[1.0, 2.0]]), "place": np.array([3], dtype=np.int32)}, "# toy\n")


def resummed(files: dict[str, bytes]) -> dict[str, bytes]:
    """The same files with sums that fit: what a careful attacker would hand over."""
    lines = [f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in (CONFIG, ARRAYS, CARD)]
    return {**files, SUMS: "".join(lines).encode()}


def refused(files: dict[str, bytes], message: str) -> None:
    def read(name: str) -> bytes:
        if name not in files:
            raise FileNotFoundError(name)
        return files[name]

    with pytest.raises(ModelFileError, match=message):
        read_artefact(read, "there")


def npz(**arrays: object) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def test_round_trip() -> None:
    found = read_artefact(folder().__getitem__, "there")
    assert found.config == SETUP
    assert found.array("weight", "f", None, 2).tolist() == [[1.0, 2.0]]
    assert found.array("place", "iu", 1).tolist() == [3]
    assert found.parameter("k", low=1, high=9) == 3


def test_the_same_values_give_the_same_bytes() -> None:
    assert folder() == folder()
    assert read_artefact(folder().__getitem__, "here") == read_artefact(folder().__getitem__, "there")


def test_other_values_give_another_digest() -> None:
    other = packed(SETUP, {"weight": np.array([[1.0, 2.5]])}, "# toy\n")
    assert read_artefact(folder().__getitem__, "x") != read_artefact(other.__getitem__, "x")


@pytest.mark.parametrize("name", [CONFIG, ARRAYS, CARD, SUMS])
def test_missing_file(name: str) -> None:
    files = folder()
    del files[name]
    refused(files, f"has no file {name}")


@pytest.mark.parametrize("name", [CONFIG, ARRAYS, CARD])
def test_changed_byte(name: str) -> None:
    files = folder()
    files[name] = files[name][:-1] + bytes([files[name][-1] ^ 1])
    refused(files, f"{name} has sha256")


def test_truncated_arrays() -> None:
    files = folder()
    refused({**files, ARRAYS: files[ARRAYS][:-40]}, "has sha256")
    refused(resummed({**files, ARRAYS: files[ARRAYS][:-40]}), "cannot be read")


@pytest.mark.parametrize("name", ["../../secret", "/etc/passwd", "sub/arrays.npz", "other.bin"])
def test_names_that_lead_out_of_the_folder(name: str) -> None:
    files = folder()
    asked: list[str] = []
    files[SUMS] += f"{'0' * 64}  {name}\n".encode()

    def read(file: str) -> bytes:
        asked.append(file)
        return files[file]

    with pytest.raises(ModelFileError, match="names"):
        read_artefact(read, "there")
    assert asked == [SUMS]


def test_a_file_left_out_of_the_sums() -> None:
    files = folder()
    files[SUMS] = b"".join(line for line in files[SUMS].splitlines(keepends=True) if b"arrays" not in line)
    refused(files, f"does not list {ARRAYS}")


def test_sums_that_are_not_sums() -> None:
    refused({**folder(), SUMS: b"\xff\xfe no"}, "expected lines of sha256")


class Boom:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return pytest.fail, ("an artefact was unpickled",)


def test_object_arrays_are_never_unpickled() -> None:
    trap = np.empty(1, dtype=object)
    trap[0] = Boom()
    refused(resummed({**folder(), ARRAYS: npz(weight=trap)}), "cannot be read")


def test_a_bare_pickle_is_never_unpickled() -> None:
    refused(resummed({**folder(), ARRAYS: pickle.dumps(Boom())}), "cannot be read")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_none(bad: float) -> None:
    refused(resummed({**folder(), ARRAYS: npz(weight=np.array([1.0, bad]))}), "NaN or an infinity")
    with pytest.raises(ModelFileError, match="NaN"):
        packed(SETUP, {"weight": np.array([bad])}, "")


def test_text_arrays() -> None:
    refused(resummed({**folder(), ARRAYS: npz(weight=np.array(["a"]))}), "not an array of numbers")


def test_a_small_file_that_unpacks_large() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("weight.npy", bytes(65 << 20))
    assert len(buffer.getvalue()) < 1 << 20
    refused(resummed({**folder(), ARRAYS: buffer.getvalue()}), "unpacks to more than 64 MiB")


def test_config_of_another_format_or_shape() -> None:
    other = msgspec.json.encode(msgspec.structs.replace(SETUP, format=2))
    refused(resummed({**folder(), CONFIG: other}), "has format 2")
    refused(resummed({**folder(), CONFIG: b'{"format": 1}'}), CONFIG)
    refused(resummed({**folder(), CONFIG: b"not json"}), CONFIG)


def test_a_folder_that_cannot_be_read() -> None:
    def read(name: str) -> bytes:
        raise PermissionError(13, "Permission denied", name)

    with pytest.raises(ModelFileError, match="Permission denied"):
        read_artefact(read, "there")


def test_expectations() -> None:
    found = read_artefact(folder().__getitem__, "there")
    found.expect("toy", "toy/1", ("a", "b"))
    with pytest.raises(ModelFileError, match="of scorer 'toy'; expected 'gbdt'"):
        found.expect("gbdt", "toy/1", ("a", "b"))
    with pytest.raises(ModelFileError, match="reads its input as 'toy/1', this program as 'toy/2'"):
        found.expect("toy", "toy/2", ("a", "b"))
    with pytest.raises(ModelFileError, match="input column 0 is 'a'; this program computes 'b'"):
        found.expect("toy", "toy/1", ("b", "a"))
    with pytest.raises(ModelFileError, match="input column 2 is 'nothing'; this program computes 'c'"):
        found.expect("toy", "toy/1", ("a", "b", "c"))


def test_arrays_of_another_kind_or_shape() -> None:
    found = read_artefact(folder().__getitem__, "there")
    with pytest.raises(ModelFileError, match="lacks the array 'bias'"):
        found.array("bias", "f", 4)
    with pytest.raises(ModelFileError, match="expected f\\[nx3\\]"):
        found.array("weight", "f", None, 3)
    with pytest.raises(ModelFileError, match="expected iu\\[nx2\\]"):
        found.array("weight", "iu", None, 2)
    with pytest.raises(ModelFileError, match=r"parameters\.k"):
        found.parameter("k", low=4, high=9)
    with pytest.raises(ModelFileError, match=r"parameters\.depth"):
        found.parameter("depth", low=0, high=9)


def test_nothing_ships_for_a_name_without_a_folder() -> None:
    assert shipped_artefact("length") is None
