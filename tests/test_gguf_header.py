"""GGUF headers: what they declare is held against the file's size, in time and memory that the file's size bounds."""

import re
import struct
import time
import tracemalloc

import numpy as np
import pytest

from lm_meter import CheckpointError
from lm_meter.conversion.convert import convert
from lm_meter.conversion.gguf_header import GgufFile

UINT8, INT32, FLOAT32, BOOL, TEXT, ARRAY, FLOAT64 = 0, 5, 6, 7, 8, 9, 12


def text(content):
    raw = content if isinstance(content, bytes) else content.encode()
    return struct.pack("<Q", len(raw)) + raw


def entry(key, kind, value):
    return text(key) + struct.pack("<I", kind) + value


def array(kind, count, values=b""):
    return struct.pack("<IQ", kind, count) + values


def tensor(name, shape, kind, place):
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, place)


def gguf_file(path, entries=(), tensors=(), data=b"", version=3, alignment=32):
    """A file as the specification has it; a number for entries or tensors claims so many."""
    counts = [claimed if isinstance(claimed, int) else len(claimed) for claimed in (tensors, entries)]
    parts = [b"" if isinstance(claimed, int) else b"".join(claimed) for claimed in (entries, tensors)]
    raw = struct.pack("<4sIQQ", b"GGUF", version, *counts) + b"".join(parts)
    path.write_bytes(raw + bytes(-len(raw) % alignment) + data if data else raw)
    return path


def test_entries_of_each_type_and_tensors_at_their_places(tmp_path):
    entries = [
        entry("a.byte", UINT8, b"\xff"),
        entry("a.whole", INT32, struct.pack("<i", -5)),
        entry("a.truth", BOOL, b"\x01"),
        entry("a.text", TEXT, text("é")),
        entry("a.numbers", ARRAY, array(FLOAT64, 2, struct.pack("<2d", 0.5, -2))),
        entry("a.texts", ARRAY, array(TEXT, 3, text("x") + text("") + text("yz"))),
        entry("a.nothing", ARRAY, array(TEXT, 0)),
        entry("general.alignment", 4, struct.pack("<I", 64)),
    ]
    tensors = [tensor("one", (3, 2), 0, 64), tensor("two", (32,), 8, 0), tensor("other", (5,), 12, 0)]
    whole = np.arange(6, dtype="<f4")
    path = gguf_file(
        tmp_path / "m.gguf", entries, tensors, bytes(range(34)).ljust(64, b"\0") + whole.tobytes(), alignment=64
    )
    found = GgufFile(path)
    values = {key: field.contents() for key, field in found.fields.items()}
    assert values == {
        "a.byte": 255, "a.whole": -5, "a.truth": True, "a.text": "é", "a.numbers": [0.5, -2.0],
        "a.texts": ["x", "", "yz"], "a.nothing": [], "general.alignment": 64,
    }  # fmt: skip
    one, two, other = found.tensors
    assert (one.name, one.tensor_type.name, one.shape) == ("one", "F32", (3, 2))
    assert one.data.view("<f4").tolist() == whole.tolist()
    assert (two.tensor_type.name, two.data.tolist()) == ("Q8_0", list(range(34)))
    assert (other.tensor_type.name, other.data.size) == ("Q4_K", 0)


def refusal(path):
    with pytest.raises(CheckpointError) as caught:
        GgufFile(path)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    return re.fullmatch(rf"{re.escape(str(path))}: is no GGUF file that can be read \((.*)\)", message)[1]


TWICE = [entry("a", UINT8, b"\1")] * 2
NESTED = entry("a", ARRAY, array(ARRAY, 1) * 5000 + array(UINT8, 0))


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        # 49 bytes: 24, a key of one letter (9), its type (4), an array's type and length (12).
        ({"entries": [entry("a", ARRAY, array(UINT8, 1 << 50))]}, f"{1 << 50} values of a need more than the 0 bytes"),
        ({"entries": [entry("a", ARRAY, array(TEXT, 1 << 61))]}, f"{1 << 61} values of a need more than the 0 bytes"),
        ({"entries": [NESTED]}, "a is an array of arrays; numbers, truth values, texts and arrays of them can be read"),
        ({"entries": [entry("a", 13, b"")]}, "a is of type 13; numbers, truth values, texts and arrays of them can be"),
        ({"entries": [entry("a", ARRAY, array(TEXT, 1, struct.pack("<Q", 1 << 63)))]}, "value 0 of a lies outside"),
        ({"entries": [entry("a", ARRAY, array(TEXT, 2, text("12345678")))]}, "value 1 of a lies outside its 65 bytes"),
        ({"entries": [entry("a", TEXT, struct.pack("<Q", 1 << 63))]}, f"{1 << 63} bytes from byte 45 on lie out"),
        ({"entries": [struct.pack("<Q", 1 << 40) + bytes(9)]}, f"a key has {1 << 40} bytes; at most 65535 are read"),
        ({"entries": TWICE}, "it has a key 'a' twice"),
        ({"entries": [entry(b"\xff", UINT8, b"\1")]}, "a key is not UTF-8"),
        ({"entries": 1 << 60}, f"{1 << 60} metadata entries need more than the 0 bytes that are left of it"),
        ({"tensors": 1 << 60}, f"{1 << 60} tensors need more than the 0 bytes that are left of it"),
        ({"version": 1}, "it begins b'GGUF', version 1; versions 2 and 3, little-endian, can be read"),
        ({"tensors": [tensor("t", (2,) * 5, 0, 0)]}, "tensor t has 5 dimensions; at most 4 are read"),
        ({"tensors": [tensor("t", (1 << 62, 4), 0, 0)]}, f"tensor t, F32 of ({1 << 62}, 4), {1 << 66} bytes from"),
        ({"tensors": [tensor("t", (1,), 0, 1 << 63)], "data": bytes(4)}, "lies outside its "),
        ({"tensors": [tensor("t", (2,), 0, 0)] * 2, "data": bytes(8)}, "it has a tensor 't' twice"),
        (
            {"tensors": [tensor("t", (2,), 0, 0), tensor("u", (2,), 0, 4)], "data": bytes(12)},
            "tensor u overlaps another one",
        ),
        (
            {"entries": [entry("general.alignment", UINT8, b"\0")]},
            "general.alignment is 0; it has to be a power of two",
        ),
    ],
)  # fmt: skip
def test_what_contradicts_the_size_or_itself(contents, message, tmp_path):
    assert message in refusal(gguf_file(tmp_path / "m.gguf", **contents))


def test_more_than_any_model_has(tmp_path):
    many = entry("a", ARRAY, array(UINT8, 1 << 22, bytes(1 << 22)))
    path = gguf_file(tmp_path / "m.gguf", [many, entry("b", ARRAY, array(UINT8, 1, b"\0"))])
    assert refusal(path) == "it has 1 values of b; at most 0 are read"
    path.write_bytes(struct.pack("<4sIQQ", b"GGUF", 3, 0, (1 << 16) + 1) + bytes(13 << 17))
    assert refusal(path) == "it has 65537 metadata entries; at most 65536 are read"
    path.write_bytes(b"")
    assert refusal(path) == "it is empty"


@pytest.mark.parametrize("kind", [UINT8, TEXT])
def test_a_megabyte_of_small_values_takes_little(kind, tmp_path):
    """The gguf package makes objects for each: 38 s and 1.7 GB."""
    count = (1 << 20) // (1 if kind == UINT8 else 8)
    path = gguf_file(tmp_path / "m.gguf", [entry("a", ARRAY, array(kind, count, bytes(1 << 20)))])
    tracemalloc.start()
    begun = time.process_time()
    found = GgufFile(path).fields["a"].contents()
    seconds, (_, peak) = time.process_time() - begun, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(found) == count
    assert peak < 32 << 20
    assert seconds < 10  # of a processor; it is 0.1, and was 38 with the package


@pytest.mark.parametrize("raw", [array(UINT8, 1 << 50), array(ARRAY, 1) * 5000])
def test_conversion_ends_in_one_line(raw, tmp_path):
    path = gguf_file(tmp_path / "m.gguf", [entry("a", ARRAY, raw)])
    with pytest.raises(CheckpointError, match="is no GGUF file that can be read"):
        convert(path, tmp_path / "m.npz")


def test_as_the_package_reads_them(tmp_path):
    """All values and all data of a model with weights of several widths."""
    gguf = pytest.importorskip("gguf")
    pytest.importorskip("tokenizers")
    from gguf_files import write_gguf

    for kind in ("F32", "BF16", "Q8_0", "Q4_0"):
        write_gguf(tmp_path / "m.gguf", kind)
        ours, theirs = GgufFile(tmp_path / "m.gguf"), gguf.GGUFReader(tmp_path / "m.gguf")
        reference = {key: field.contents() for key, field in theirs.fields.items() if not key.startswith("GGUF.")}
        assert {key: field.contents() for key, field in ours.fields.items()} == reference
        for our, their in zip(ours.tensors, theirs.tensors, strict=True):
            assert (our.name, our.tensor_type.name) == (their.name, their.tensor_type.name)
            assert list(our.shape) == their.shape.tolist()
            assert our.data.tobytes() == their.data.tobytes()
