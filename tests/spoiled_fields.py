"""Every field of a document in turn, spoiled: a leaf or a whole part of it replaced by what it should not be."""

import copy

# NaN too, which Python's JSON writes though no JSON has it.
SPOILS = (None, {}, [], "x", -1, 0, 2**70, 1e300, float("nan"), True, ["x"], {"x": 1})


def places(value, path=()):
    """Paths of all values inside a document; of a list those of its first entry, as the others are alike."""
    items = value.items() if isinstance(value, dict) else enumerate(value[:1]) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from places(inner, (*path, key))


def spoiled(document, path, value):
    """A copy of a document with another value at one place."""
    document = copy.deepcopy(document)
    inner = document
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return document
