"""The container: what is refused and why, alignment, determinism, atomic writing."""

import io
import os
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from lm_meter.errors import CheckpointError
from lm_meter.npz import ALIGNMENT, MAX_HEADER, MAX_JSON, Npz, write_npz

VALUES = np.arange(6, dtype=np.float32).reshape(2, 3)


def npy(array):
    """A ``.npy`` file, as bytes."""
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def npy_with_header(header, data=bytes(24), version=(1, 0)):
    """A ``.npy`` file with any header text, right or wrong."""
    text = header.encode("latin-1")
    size = struct.pack("<H" if version == (1, 0) else "<I", len(text))
    return b"\x93NUMPY" + bytes(version) + size + text + data


def archive(path, members, compression=zipfile.ZIP_STORED):
    """A zip archive made by Python's own module; ``members`` are pairs, so that a name can appear twice."""
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in members:
            file.writestr(name, content)
    return path


def with_array(path, content):
    return archive(path, [("config.json", "{}"), ("x.npy", content)])


def refusal(path):
    """Message with which the file is refused: one line that begins with the file's name."""
    with pytest.raises(CheckpointError) as caught:
        Npz(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


@pytest.fixture
def valid(tmp_path):
    path = tmp_path / "valid.npz"
    write_npz(path, '{"some": "config"}', {"x": VALUES, "y": np.arange(100, dtype=np.uint8)})
    return path


def test_what_was_written_is_read(valid):
    opened = Npz(valid)

    assert opened.config_text == '{"some": "config"}'
    assert list(opened.arrays) == ["x", "y"]
    np.testing.assert_array_equal(opened.view(opened.arrays["x"]), VALUES)
    opened.verify(opened.arrays["x"])


def test_numpy_reads_the_arrays(valid):
    with np.load(valid) as file:
        np.testing.assert_array_equal(file["x"], VALUES)
        np.testing.assert_array_equal(file["y"], np.arange(100))


def test_data_of_every_array_are_aligned(tmp_path):
    sizes = {f"array{'x' * n}": np.zeros(n, np.uint8) for n in range(1, 140, 7)}
    write_npz(tmp_path / "a.npz", "{}", sizes)

    offsets = [array.offset % ALIGNMENT for array in Npz(tmp_path / "a.npz").arrays.values()]

    assert ALIGNMENT == 64
    assert offsets == [0] * len(sizes)


def test_the_same_content_gives_the_same_bytes(tmp_path):
    for name in ("a.npz", "b.npz"):
        write_npz(tmp_path / name, "{}", {"x": VALUES})

    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_a_mapped_array_can_be_changed_but_the_file_is_not(valid):
    before = valid.read_bytes()
    opened = Npz(valid)
    opened.view(opened.arrays["x"])[...] = 7

    assert valid.read_bytes() == before


def test_missing(tmp_path):
    expected = "cannot be opened (No such file or directory); expected a checkpoint file (.npz)"
    assert refusal(tmp_path / "none.npz") == expected


def test_a_folder(tmp_path):
    assert refusal(tmp_path) == "cannot be opened (Is a directory); expected a checkpoint file (.npz)"


def test_empty(tmp_path):
    (tmp_path / "a.npz").touch()
    assert refusal(tmp_path / "a.npz") == "the file is empty; expected a checkpoint (.npz)"


@pytest.mark.parametrize(
    "content",
    [b"not a zip archive", b"\x80\x04K\x01.", bytes(100), npy(VALUES)],
    ids=lambda content: f"{len(content)} bytes",
)
def test_not_a_zip_archive(content, tmp_path):
    (tmp_path / "a.npz").write_bytes(content)

    message = refusal(tmp_path / "a.npz")

    assert message.startswith("is not a zip archive, or is truncated (")
    assert message.endswith("expected a checkpoint (.npz)")


def test_truncated_at_any_length(valid, tmp_path):
    whole = valid.read_bytes()
    path = tmp_path / "cut.npz"
    for length in range(1, len(whole)):
        path.write_bytes(whole[:length])
        assert refusal(path).startswith("is not a zip archive, or is truncated (")


def test_bytes_missing_from_the_beginning(valid, tmp_path):
    """Python's zip reader forgives a changed beginning; the local headers are then not where they should be."""
    path = tmp_path / "cut.npz"
    path.write_bytes(bytes(len(valid.read_bytes()) // 2) + valid.read_bytes()[len(valid.read_bytes()) // 2 :])

    assert refusal(path) == "member config.json lies outside the file; the file is damaged or truncated"


def test_a_member_beyond_the_end(valid, tmp_path):
    raw = bytearray(valid.read_bytes())
    entry = raw.index(b"PK\x01\x02")
    raw[entry + 42 : entry + 46] = struct.pack("<I", len(raw) - 10)  # offset of the local header of config.json
    valid.write_bytes(raw)

    assert refusal(valid) == "member config.json lies outside the file; the file is damaged or truncated"


def test_a_member_longer_than_the_file(valid):
    raw = bytearray(valid.read_bytes())
    entry = raw.index(b"PK\x01\x02")
    raw[entry + 20 : entry + 28] = struct.pack("<2I", 100_000, 100_000)  # compressed size, size
    valid.write_bytes(raw)

    assert refusal(valid) == "member config.json lies outside the file; the file is damaged or truncated"


def test_compressed(tmp_path):
    path = archive(tmp_path / "a.npz", [("config.json", "{}" * 100)], zipfile.ZIP_DEFLATED)

    assert refusal(path) == (
        "member config.json is compressed; expected stored data (write it with lm_meter.write_checkpoint)"
    )


def test_encrypted(valid):
    raw = bytearray(valid.read_bytes())
    raw[raw.index(b"PK\x01\x02") + 8] |= 1  # the flag in the directory
    valid.write_bytes(raw)

    assert refusal(valid) == "member config.json is encrypted; expected stored data"


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_appears_twice(tmp_path):
    path = archive(tmp_path / "a.npz", [("config.json", "{}"), ("x.npy", npy(VALUES)), ("x.npy", npy(VALUES))])

    assert refusal(path) == "member x.npy appears twice"


def test_a_surplus_member(tmp_path):
    path = archive(tmp_path / "a.npz", [("config.json", "{}"), ("setup.py", "")])

    assert refusal(path) == "has a surplus member setup.py; expected config.json and arrays (.npy)"


def test_no_configuration(tmp_path):
    np.savez(tmp_path / "a.npz", x=VALUES)

    assert refusal(tmp_path / "a.npz") == "has no member config.json; it is not an lm-meter checkpoint"


def test_a_configuration_that_is_too_large(tmp_path):
    path = archive(tmp_path / "a.npz", [("config.json", b" " * (MAX_JSON + 1))])

    assert refusal(path) == f"config.json has {MAX_JSON + 1} bytes; expected at most {MAX_JSON}"


def test_a_damaged_configuration(valid):
    valid.write_bytes(valid.read_bytes().replace(b'"some"', b'"sane"'))

    assert refusal(valid) == "config.json is damaged (its checksum differs); get the file again"


def test_a_configuration_that_is_not_utf8(tmp_path):
    path = archive(tmp_path / "a.npz", [("config.json", b'{"a": "\xff"}')])

    assert refusal(path) == "config.json is not UTF-8 (byte 7); expected a JSON object"


def test_damaged_data(valid):
    raw = bytearray(valid.read_bytes())
    raw[raw.index(VALUES.tobytes()) + 5] ^= 1
    valid.write_bytes(raw)
    opened = Npz(valid)

    with pytest.raises(CheckpointError) as caught:
        opened.verify(opened.arrays["x"])

    assert str(caught.value) == f"{valid}: array x is damaged (its checksum differs); get the file again"


class Surprise:
    """An object whose unpickling would be noticed."""

    def __reduce__(self):
        return pytest.fail, ("was unpickled",)


def test_pickled_objects(tmp_path):
    path = with_array(tmp_path / "a.npz", npy(np.array([Surprise()], object)))

    assert refusal(path) == "array x: holds pickled Python objects; expected plain numbers"


def test_a_header_that_claims_too_much(tmp_path):
    header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }".ljust(MAX_HEADER + 1)
    path = with_array(tmp_path / "a.npz", npy_with_header(header))

    expected = f"array x: its header claims {MAX_HEADER + 1} bytes; expected at most {MAX_HEADER}"
    assert refusal(path) == expected


def test_a_header_of_four_gigabytes(tmp_path):
    path = with_array(tmp_path / "a.npz", b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + bytes(100))

    assert refusal(path) == f"array x: its header claims {2**32 - 1} bytes; expected at most {MAX_HEADER}"


def test_an_unknown_version_of_the_array_format(tmp_path):
    path = with_array(tmp_path / "a.npz", npy_with_header("", version=(3, 0)))

    assert refusal(path) == "array x: .npy version 3.0; expected 1.0 or 2.0"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x93NUM",
        b"no magic at all",
        npy_with_header("{'descr': '<f4', 'fortran_order': False}"),
        npy_with_header("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), 'more': 1}"),
        npy_with_header("{'descr': '<f4', 'fortran_order': 2, 'shape': (2, 3)}"),
        npy_with_header("{'descr': '<f4', 'fortran_order': False, 'shape': [2, 3]}"),
        npy_with_header("{'descr': '<f4', 'fortran_order': False, 'shape': ('a',)}"),
        npy_with_header("{'descr': 'nonsense', 'fortran_order': False, 'shape': (2, 3)}"),
        npy_with_header("{'descr': [('a', '<f4', (2**40,))], 'fortran_order': False, 'shape': (2, 3)}"),
        npy_with_header("{'descr': '<f4', 'shape': ("),
        npy_with_header("{'descr': '''"),
        npy_with_header("[" * 2000),
        npy_with_header("-" * 4000 + "1"),
        npy_with_header("__import__('os').abort()"),
        npy_with_header("\0"),
        npy_with_header("1"),
        npy_with_header("{[]: 1}"),
        npy_with_header("  1\n 2"),
    ],
    ids=lambda content: f"{len(content)} bytes",
)
@pytest.mark.filterwarnings("error::UserWarning")
def test_a_header_that_makes_no_sense(content, tmp_path):
    path = with_array(tmp_path / "a.npz", content)

    assert refusal(path).startswith("array x: has no readable .npy header (")


@pytest.mark.parametrize("descr", ["[]", "((),)", "(('<f4', (2,)),)", "'V3'", "'U1'", "[('a', '<f4')]"])
def test_a_type_whose_numbers_do_not_fill_the_data(descr, tmp_path):
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': (2, 3)}}"
    path = with_array(tmp_path / "a.npz", npy_with_header(header, bytes(23)))

    message = refusal(path)

    assert " bytes; found 23" in message or "has no readable .npy header" in message


def test_column_order(tmp_path):
    path = with_array(tmp_path / "a.npz", npy(np.asfortranarray(VALUES)))

    assert refusal(path) == "array x: is stored column by column; expected C order"


@pytest.mark.parametrize("shape", ["(-2, -3)", "(6, True)"])
def test_sizes_that_are_none(shape, tmp_path):
    """Their product is the right size."""
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}"
    path = with_array(tmp_path / "a.npz", npy_with_header(header))

    assert refusal(path) == f"array x: has shape {shape}; expected sizes of 0 or more"


def test_a_shape_whose_size_overflows(tmp_path):
    """2**32 * 2**32 * 4 bytes is 0 in 64 bits, and 2**66 in truth."""
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({2**32}, {2**32})}}"
    path = with_array(tmp_path / "a.npz", npy_with_header(header, b""))

    expected = f"array x: shape (4294967296, 4294967296) and type float32 need {2**66} bytes; found 0"
    assert refusal(path) == expected


@pytest.mark.parametrize("size", [0, 23, 25])
def test_data_shorter_or_longer_than_the_shape(size, tmp_path):
    header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)}"
    path = with_array(tmp_path / "a.npz", npy_with_header(header, bytes(size)))

    assert refusal(path) == f"array x: shape (2, 3) and type float32 need 24 bytes; found {size}"


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert refusal(tmp_path / "pipe") == (
        "cannot be opened (it is a named pipe; a regular file can be read); expected a checkpoint file (.npz)"
    )


def test_a_name_that_no_file_can_have():
    with pytest.raises(CheckpointError, match=r"cannot be opened \(embedded null byte\); expected a checkpoint file"):
        Npz(Path("a\0.npz"))


@pytest.mark.parametrize(
    ("field", "value"),
    [(6, 1), (8, 8), (14, 0), (18, 0), (30, ord("X"))],
    ids=["encrypted", "deflated", "sum", "size", "name"],
)
def test_a_local_header_that_contradicts_the_directory(field, value, valid):
    raw = bytearray(valid.read_bytes())
    at = raw.index(b"PK\x03\x04", 1)  # the second member's
    assert raw[at + field] != value
    raw[at + field] = value
    valid.write_bytes(raw)
    assert refusal(valid) == "member x.npy: its local header contradicts the directory; write the file again"


def test_two_names_for_the_same_bytes(tmp_path):
    """The directory's entry of y.npy is made to point to x.npy; its local header has its own name."""
    path = tmp_path / "a.npz"
    write_npz(path, "{}", {"x": VALUES, "y": VALUES})
    raw = bytearray(path.read_bytes())
    entries = [i for i in range(len(raw)) if raw[i : i + 4] == b"PK\x01\x02"]
    raw[entries[2] + 42 : entries[2] + 46] = raw[entries[1] + 42 : entries[1] + 46]
    path.write_bytes(raw)
    assert refusal(path) == "member y.npy overlaps another; write the file again"


def test_any_memory_layout_is_written_in_c_order(tmp_path):
    path = tmp_path / "a.npz"
    write_npz(path, "{}", {"x": np.asfortranarray(VALUES), "y": VALUES[:, ::2], "z": VALUES.T})
    with np.load(path) as arrays:
        assert np.array_equal(arrays["x"], VALUES)
        assert np.array_equal(arrays["y"], VALUES[:, ::2])
        assert np.array_equal(arrays["z"], VALUES.T)
    assert np.array_equal(Npz(path).view(Npz(path).arrays["z"]), VALUES.T)
