"""Malformed files from well-formed ones: mutations of bytes, of JSON and TOML, of archives, arrays and saved states.

Each function takes a ``random.Random`` and what is to be changed; the same seed gives the same file.
"""

import json

NUMBERS = (
    0,
    1,
    -1,
    2,
    3,
    7,
    8,
    16,
    63,
    64,
    65,
    255,
    256,
    4096,
    65535,
    1 << 20,
    (1 << 24) - 1,
    1 << 24,
    1 << 31,
    (1 << 32) - 1,
    1 << 32,
    (1 << 53) + 1,
    (1 << 63) - 1,
    1 << 63,
    (1 << 64) - 1,
    -(1 << 63),
    10**30,
    10**400,
)
REALS = (0.5, -0.0, 1e-300, 5e-324, 1e300, 1.7976931348623157e308, -1e308, 1.0, 2.0, 0.1, 1e-30, 3.5)
WORDS = (
    "",
    "a",
    "\0",
    "\n",
    "x\ny",
    "\r\n",
    "\x85",
    "\u2028",
    "é",
    "\U0001f600",
    "\u202e",
    "../x",
    "/",
    "nan",
    "off",
    "lstm",
    "transformer",
    "float32",
    "int8",
    "int4",
    "codebook4",
    "bfloat16",
    "word",
    "sentencepiece",
    "<eos>",
    "segment:3",
    "recompute",
    "a" * 5000,
    "%s",
    "{}",
    "1,1,0.5",
    "tensor",
    "wrap",
)
# What no JSON value of Python's writes; each is put into the text in the place of a value.
RAW = (
    "NaN",
    "Infinity",
    "-Infinity",
    "1e999",
    '"\\ud800"',
    "[" * 3000,
    '{"a":' * 1500,
    "9" * 5000,
    "-",
    "tru",
    "1.",
    '"\\u0000"',
    '{"a":1,"a":2}',
    "01",
    '"\t"',
    "'x'",
    "1e-999",
    "[1,]",
    '"\udc80"',
)
_HOLE = "\ue000hole\ue000"
_CORRUPTIONS = 7


def mutated_bytes(rng, raw, near=None):
    """Some bytes flipped, overwritten with numbers, removed, doubled, moved or cut; ``near``: mostly in the first."""
    data = bytearray(raw)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        if not data:
            return bytes(rng.randbytes(rng.randrange(40)))
        end = min(len(data), near) if near and rng.random() < 0.8 else len(data)
        at, kind = rng.randrange(end), rng.randrange(_CORRUPTIONS)
        if kind == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[at] = rng.randrange(256)
        elif kind == 2:
            width = rng.choice((1, 2, 4, 8))
            value = (rng.choice(NUMBERS) + rng.choice((-1, 0, 0, 1))) & ((1 << 8 * width) - 1)
            data[at : at + width] = value.to_bytes(width, rng.choice(("little", "little", "big")))
        elif kind == 3:
            del data[at : at + rng.choice((1, 1, 2, 4, 16, 300))]
        elif kind == 4:
            data[at:at] = rng.randbytes(rng.choice((1, 2, 4, 16)))
        elif kind == 5:
            other = rng.randrange(len(data))
            data[at:at] = data[other : other + rng.choice((1, 4, 16, 64, 1000))]
        elif rng.random() < 0.3:
            del data[at:]
    return bytes(data)


def _scalar(rng):
    choice = rng.randrange(8)
    if choice < 3:
        return rng.choice(NUMBERS)
    if choice == 3:
        return rng.choice(REALS)
    return rng.choice(WORDS) if choice < 6 else rng.choice((None, True, False, [], {}))


def _places(value, found, where=None):
    """All values inside a document as (container, key)."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        found.append((value, key))
        _places(inner, found, key)
    return found


def _neighbour(rng, value):
    """Something near a value, which may pass for it."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return rng.choice(
            (
                value + 1,
                value - 1,
                -value,
                value * 2,
                value // 2,
                str(value)[:9],
                [value],
                value + 0.5 if abs(value) < 1e300 else 0.5,
            )
        )
    if isinstance(value, float):
        return rng.choice((-value, value * 1e10, value / 1e10, int(value) if abs(value) < 1e300 else 0))
    if isinstance(value, str):
        return rng.choice((value + "\0", value.upper(), value[1:], value * 2, [value], value + "\n", {"format": value}))
    return [value] if isinstance(value, dict) else value[:-1] if isinstance(value, list) else 0


def changed_document(rng, document):
    """A copy of a JSON document with a few values changed, removed, added, renamed or exchanged."""
    document = json.loads(json.dumps(document))
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        places = _places(document, [])
        if not places:
            return _scalar(rng)
        container, key = rng.choice(places)
        kind = rng.randrange(10)
        if kind < 4:
            container[key] = _scalar(rng)
        elif kind < 7:
            container[key] = _neighbour(rng, container[key])
        elif kind == 7:
            del container[key]
        elif kind == 8:
            other, there = rng.choice(places)
            container[key] = json.loads(json.dumps(other[there])) if _has(other, there) else None
        elif isinstance(container, dict):
            container[rng.choice((*WORDS, *container))] = _scalar(rng)
        else:
            container.insert(rng.randrange(len(container) + 1), _scalar(rng))
    return document


def _has(container, key):
    return key in container if isinstance(container, dict) else key < len(container)


def mutated_json(rng, document):
    """Text of a changed document, sometimes with something in it that is no JSON, as bytes."""
    changed = changed_document(rng, document)
    if rng.random() < 0.15:
        places = _places(changed, [])
        if places:
            container, key = rng.choice(places)
            container[key] = _HOLE
        return (
            json.dumps(changed, ensure_ascii=False)
            .replace(f'"{_HOLE}"', rng.choice(RAW))
            .encode("utf-8", "surrogatepass")
        )
    text = json.dumps(changed, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")
    return mutated_bytes(rng, text) if rng.random() < 0.1 else text


_TOML = (
    "0x" + "f" * 5000,
    "1e400",
    "nan",
    "-inf",
    "inf",
    "1979-05-27T07:32:00Z",
    "2020-13-45",
    "07:32:00",
    "[" * 2000,
    '"a\\nb"',
    '"""\n\n"""',
    "'''x\ny'''",
    "{ value = nan, tolerance = inf }",
    "{ value = 1, value = 2 }",
    "[1, 2]",
    "{ value = 0xffffffffffffffffffffff }",
    '"\\u0000"',
    '"\\ud800"',
    "9" * 5000,
    "-1",
    "true",
    "0",
    "1_000",
    "{}",
    '"sample"',
    '"wikitext-103"',
    '"segment:1"',
    '"1,1,0.5"',
    "1e308",
    "{ value = 1e308, tolerance = 1e308 }",
    "0b1",
    "9223372036854775808",
    "{ a = { b = 1 } }",
    '"' + "x" * 5000 + '"',
)
_TOML_LINES = (
    '"a\\nb" = 1',
    "[claims.tensors]",
    "[[run]]",
    "[run.x]",
    "a.b.c.d = 1",
    "[" * 50,
    '"" = 1',
    "x",
    "= 1",
    '"\\u0085" = 2',
    "[claims]",
    "[claims.regions]",
    '"\\u2028" = { value = 1 }',
    "\0",
    "a = 1\na = 2",
    ".".join("a" * 3000) + " = 1",
    "[" + ".".join("b" * 3000) + "]",
    "checkpoint = 1",
)


# Entries of configurations that no array's shape depends on, whatever they are.
_FREE = (
    "context",
    "window",
    "base",
    "first",
    "epsilon",
    "scale",
    "size",
    "theta",
    "lambda",
    "used",
    "local",
    "stride",
    "summary",
    "global",
    "rotated",
    "activations",
    "accumulator",
    "overflow",
    "place",
    "charged",
    "start",
    "unknown",
    "end_of_line",
    "pairs",
    "layout",
    "exponent",
    "normalised",
    "kind",
    "activation",
    "pattern",
    "continuous_cache",
    "final",
    "cutoffs",
    "project_first",
    "origin",
    "version",
)


def tuned_configuration(rng, config):
    """A copy of a configuration in which entries that no shape depends on are others, most of them possible ones."""
    changed = json.loads(json.dumps(config))
    places = [(container, key) for container, key in _places(changed, []) if key in _FREE]
    for _ in range(rng.choice((1, 1, 2, 4))):
        container, key = rng.choice(places)
        old = container[key]
        if key == "pattern" or (key == "window" and not isinstance(old, list)):
            container[key] = rng.choice(
                (
                    None,
                    1,
                    2,
                    5,
                    16,
                    17,
                    1 << 24,
                    {"kind": "strided", "local": 1, "stride": 1 << 24},
                    {"kind": "fixed", "stride": 1 << 20, "summary": 1 << 20},
                    {"kind": "strided", "local": 1 << 24, "stride": 1},
                    {"kind": "local_global", "local": 0, "global": 1 << 24},
                    {"kind": "local_global", "local": 2, "global": 17},
                )
            )
        elif isinstance(old, bool):
            container[key] = not old
        elif isinstance(old, int | float):
            container[key] = rng.choice((*NUMBERS[:18], *REALS, old + 1))
        elif isinstance(old, str):
            others = [value for _, value in _strings(config)]
            container[key] = rng.choice(
                (
                    *others,
                    *WORDS,
                    "adjacent",
                    "halves",
                    "interleaved",
                    "i/(half-1)",
                    "saturate",
                    "before",
                    "after",
                    "all",
                    "needed",
                    "relu",
                    "gelu",
                    "silu",
                    "none",
                    "relative",
                    "root_mean_square",
                    "layer",
                    "<unk>",
                    "the",
                )
            )
        else:
            container[key] = rng.choice((None, {"size": 1 << 20, "theta": 1e6, "lambda": 0.999}, old))
    attention, cache = changed.get("attention"), {"size": rng.choice(NUMBERS[1:19]), "theta": 1e-30, "lambda": 1e-9}
    if isinstance(attention, dict) and rng.random() < 0.2:
        attention["window"] = rng.choice((1, 3, 17, 300, 1 << 24))
    if rng.random() < 0.1:
        changed["continuous_cache"] = cache
    return json.dumps(changed).encode("utf-8", "surrogatepass")


def _strings(config):
    return [(key, container[key]) for container, key in _places(config, []) if isinstance(container[key], str)]


def mutated_toml(rng, raw):
    """Lines of a TOML document changed, exchanged, doubled or put in; or its bytes."""
    if rng.random() < 0.2:
        return mutated_bytes(rng, raw)
    lines = raw.decode().split("\n")
    for _ in range(rng.choice((1, 1, 2, 3))):
        at, kind = rng.randrange(len(lines)), rng.randrange(5)
        name, equals, _ = lines[at].partition("=")
        if kind < 2 and equals:
            lines[at] = f"{name}= {rng.choice(_TOML)}"
        elif kind == 2:
            lines.insert(at, rng.choice(_TOML_LINES))
        elif kind == 3:
            lines.insert(at, f'"{rng.choice(("x", "lstm.0", "a b"))}" = {rng.choice(_TOML)}')
        elif len(lines) > 1:
            lines.insert(rng.randrange(len(lines)), lines.pop(at))
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def mutated_text(rng, raw):
    """A text with odd characters, very long words or lines, or bytes that are no UTF-8."""
    if rng.random() < 0.3:
        return mutated_bytes(rng, raw)
    text = raw.decode()
    for _ in range(rng.choice((1, 2, 5))):
        at = rng.randrange(len(text) + 1)
        odd = (
            *WORDS,
            "\ufeff",
            "\u2581",
            "\u2581\u2581",
            " \u2581 ",
            "<unk>",
            "<s>",
            "\u0301",
            "\ufffd",
            "\t",
            "  ",
            "\x0b",
            "\x1c",
            "\u3000",
            "\n\n\n",
            "w " * 200,
            "\u00a0",
            "\uac00\u1100\u1161",
            "ﬁ",
            "²",
        )
        text = text[:at] + rng.choice(odd) * rng.choice((1, 1, 2, 50)) + text[at:]
        if rng.random() < 0.1:
            text = text[rng.randrange(len(text)) :]
    return text.encode("utf-8", "surrogatepass")
