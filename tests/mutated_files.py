"""Malformed archives of arrays, saved states and files of safetensors, whose checksums are right."""

import ast
import hashlib
import io
import json
import struct
import zipfile

from mutations import NUMBERS, WORDS, changed_document, mutated_bytes, mutated_json, tuned_configuration

_HEAD = 10  # bytes of a .npy file before its header
_SPECIAL = (
    b"\x00\x00\x80\x7f",
    b"\x00\x00\xc0\x7f",
    b"\xff\xff\xff\xff",
    b"\x00\x00\x80\xff",
    b"\xff\xff\x7f\x7f",
    b"\x01\x00\x00\x00",
    b"\x00\x00\x00\x80",
    b"\x00\x7c\x00\x7c",
    b"\xff\x7b\xff\x7b",
    bytes(4),
)
_TYPES = (
    "<f4",
    "<f2",
    "<f8",
    ">f4",
    "|u1",
    "|i1",
    "<u2",
    "<i8",
    "|O",
    "|V4",
    "<U3",
    "|b1",
    "<c8",
    "<M8[s]",
    "f4,i8",
    "",
    "<f4" * 200,
    "|V999999999999",
    "<U99999999",
    [("a", "<f4")],
    ("<f4", (2,)),
    None,
    3,
)


def archive_members(raw):
    """Names and contents of an archive of stored members, in order."""
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        return [(info.filename, archive.read(info)) for info in archive.infolist()]


def archive_of(members, compression=zipfile.ZIP_STORED):
    """An archive of members, whose names may be any; checksums are right."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content, compression)
    return out.getvalue()


def _mutated_header(rng, content):
    """A ``.npy`` file with another header, whose length is right, mostly."""
    length = int.from_bytes(content[8:10], "little")
    header, data = ast.literal_eval(content[_HEAD : _HEAD + length].decode()), content[_HEAD + length :]
    kind = rng.randrange(8)
    shape = list(header["shape"])
    if kind < 2:
        odd = (*NUMBERS, None, "x", 1.5, True)
        shape.insert(rng.randrange(len(shape) + 1), rng.choice(odd)) if rng.random() < 0.3 or not shape else None
        shape[rng.randrange(len(shape))] = rng.choice(odd)
    elif kind == 2:
        shape = rng.choice(([], shape[::-1], [0, *shape], shape * 20, [1, *shape], [0, 10**30], shape[:1]))
    elif kind == 3:
        header["fortran_order"] = rng.choice((True, 1, None, "x"))
    elif kind == 4:
        header["descr"] = rng.choice(_TYPES)
    elif kind == 5:
        header.pop(rng.choice(list(header)))
    header = {key: tuple(shape) if key == "shape" else value for key, value in header.items()}
    text = repr(header)
    if kind == 6:
        text = rng.choice(
            (text + "x", "(" * 200, text.replace("'", "\0"), "{" * 90, "", text * 3, "lambda: 0", "0" * 3000)
        )
    if kind == 7 and rng.random() < 0.5:  # the data of another size
        data = rng.choice((data[:-1], data * 2, b"", data + b"\0"))
    padded = (text + "\n").encode("utf-8", "replace")
    start = rng.choice((b"\x93NUMPY\x01\x00",) * 6 + (b"\x93NUMPY\x02\x00", b"\x93NUMPY\x03\x00", b"\x93NUMPX\x01\x00"))
    claimed = len(padded) if rng.random() < 0.9 else rng.choice((0, 65535, len(padded) + 1))
    size = struct.pack("<I" if start[6] >= 2 else "<H", claimed & 0xFFFF)
    return start + size + padded + data


def _special_values(rng, content):
    """A ``.npy`` file with some numbers that are not finite, zero, or the largest."""
    data = bytearray(content)
    start = _HEAD + int.from_bytes(content[8:10], "little")
    for _ in range(rng.choice((1, 1, 4, 40))):
        if len(data) - start >= 4:
            at = start + rng.randrange((len(data) - start) // 4) * 4
            data[at : at + 4] = rng.choice(_SPECIAL)
    return bytes(data)


def mutated_checkpoint(rng, raw):
    """A checkpoint with another configuration, other headers, values, tokenizer, members, or another structure."""
    if rng.random() < 0.15:
        return mutated_bytes(rng, raw)
    members = archive_members(raw)
    for _ in range(rng.choice((1, 1, 2))):
        at = rng.randrange(len(members))
        if rng.random() < 0.55:
            at = next(n for n, (name, _) in enumerate(members) if name == "config.json") if _configured(members) else at
        name, content = members[at]
        kind = rng.randrange(20)
        if kind == 0:
            members.pop(at)
        elif kind == 1:
            members.append((rng.choice((name, "x.npy", "config.json", "a.txt", "embedding.npy")), content))
        elif kind == 2:
            members[at] = (rng.choice((*(w for w in WORDS if w and "\ud800" not in w), name.upper())), content)
        elif name == "config.json":
            try:
                change = tuned_configuration if rng.random() < 0.6 else mutated_json
                members[at] = (name, change(rng, json.loads(content)))
            except (ValueError, RecursionError, TypeError, IndexError, AttributeError):  # it has been changed before
                members[at] = (name, mutated_bytes(rng, content))
        elif name.startswith("tokenizer."):
            members[at] = (name, _npy(mutated_bytes(rng, content[_HEAD + int.from_bytes(content[8:10], "little") :])))
        elif kind < 12:
            members[at] = (name, _special_values(rng, content))
        else:
            try:
                members[at] = (name, _mutated_header(rng, content))
            except (ValueError, SyntaxError, KeyError, IndexError, TypeError):  # it has been changed before
                members[at] = (name, mutated_bytes(rng, content))
        if not members:
            break
    compression = zipfile.ZIP_DEFLATED if rng.random() < 0.02 else zipfile.ZIP_STORED
    return mutated_structure(rng, archive_of(members, compression))


def mutated_arrays(rng, raw):
    """An archive of arrays with another header, other values, members or another structure."""
    members = archive_members(raw)
    at = rng.randrange(len(members))
    name, content = members[at]
    kind = rng.randrange(8)
    if kind == 0:
        members.pop(at)
    elif kind == 1:
        members.append((rng.choice((name, "x.npy")), content))
    elif kind < 4:
        members[at] = (name, _special_values(rng, content))
    else:
        members[at] = (name, _mutated_header(rng, content))
    compression = zipfile.ZIP_DEFLATED if rng.random() < 0.05 else zipfile.ZIP_STORED
    return mutated_structure(rng, archive_of(members, compression))


def _configured(members):
    return any(name == "config.json" for name, _ in members)


def _npy(data):
    """Bytes as an array of uint8."""
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({len(data)},), }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


def mutated_structure(rng, raw):
    """An archive, rarely with numbers changed in its directory or in the headers of its members."""
    if rng.random() > 0.15:
        return raw
    signature = rng.choice((b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06"))
    places = [at for at in range(len(raw) - 4) if raw[at : at + 4] == signature]
    data = bytearray(raw)
    for _ in range(rng.choice((1, 1, 2))):
        if places:
            at = rng.choice(places) + rng.randrange(4, 46)
            width = rng.choice((1, 2, 4))
            data[at : at + width] = (rng.choice(NUMBERS) & ((1 << 8 * width) - 1)).to_bytes(width, "little")
    if rng.random() < 0.1:
        data += rng.randbytes(rng.choice((1, 22, 70000)))
    return bytes(data)


def mutated_state(rng, raw):
    """A saved state with another header or other numbers and a checksum that is right, mostly."""
    if rng.random() < 0.05:
        return mutated_bytes(rng, raw)
    magic = raw.index(b"\n") + 1
    size = int.from_bytes(raw[magic : magic + 8], "little")
    header, data = json.loads(raw[magic + 8 : magic + 8 + size]), bytearray(raw[magic + 8 + size : -32])
    text = raw[magic + 8 : magic + 8 + size]
    kind = rng.randrange(10)
    if kind < 4:
        text = mutated_json(rng, header)
    elif kind < 5:
        entry = rng.choice(header["arrays"])
        odd = rng.choice(([0, 10**30], [1] * 80, [10**300] * 300, "12", [1.5], [[1]], [True], None, {}, [-1, -1]))
        entry["shape"] = odd
        text = json.dumps(header).encode()
    elif data:
        arrays = _array_places(header)
        for _ in range(rng.choice((1, 1, 2, 4))):
            first, last, width = rng.choice(arrays)
            if last > first:
                at = rng.randrange(first, last, width)
                value = rng.choice((*NUMBERS, rng.randrange(20))) + rng.choice((-1, 0, 0, 1))
                data[at : at + width] = (value & ((1 << 8 * width) - 1)).to_bytes(width, "little")
    claimed = len(text) if rng.random() < 0.97 else rng.choice(NUMBERS) & ((1 << 64) - 1)
    whole = raw[:magic] + claimed.to_bytes(8, "little") + text + bytes(data)
    return whole + hashlib.sha256(whole).digest()


def _array_places(header):
    places, at = [], 0
    for entry in header["arrays"]:
        width, size = {"8": 1, "4": 8, "2": 4}[entry["dtype"][-1]], 1
        for length in entry["shape"]:
            size *= length
        places.append((at, at + size * width, width))
        at += size * width
    # Small arrays hold what is used as numbers of places.
    return places + [place for place in places if place[1] - place[0] <= 64] * 4


def mutated_safetensors(rng, raw):
    """A file of safetensors with another header, whose size is right, mostly."""
    if rng.random() < 0.3:
        return mutated_bytes(rng, raw, 200)
    size = int.from_bytes(raw[:8], "little")
    text = json.dumps(changed_document(rng, json.loads(raw[8 : 8 + size]))).encode()
    return len(text).to_bytes(8, "little") + text + raw[8 + size :]


def mutated_torch(rng, raw):
    """A file of ``torch.save``: its pickle or another member changed, checksums right."""
    if rng.random() < 0.2:
        return mutated_bytes(rng, raw)
    members = archive_members(raw)
    at = rng.randrange(len(members))
    if rng.random() < 0.7:
        at = next(n for n, (name, _) in enumerate(members) if name.endswith("data.pkl"))
    members[at] = (members[at][0], mutated_bytes(rng, members[at][1]))
    return mutated_structure(rng, archive_of(members))
