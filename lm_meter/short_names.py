"""Short names of files: as many of the last parts of each path as tell it apart from the others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def short_names(paths: Sequence[str]) -> list[str]:
    """A name for each path, in their order; equal paths have equal names, others do not."""
    parts = {path: Path(path).parts for path in paths}
    names = {}
    for path, own in parts.items():
        others = [other for name, other in parts.items() if name != path]
        enough = (n for n in range(1, len(own) + 1) if all(other[-n:] != own[-n:] for other in others))
        count = next(enough, None)
        names[path] = path if count is None else str(Path(*own[-count:]))
    return [names[path] for path in paths]
