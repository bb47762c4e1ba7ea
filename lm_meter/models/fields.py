"""Entries of a checkpoint's configuration, each checked when it is asked for; CheckpointError names it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import CheckpointError

# More than any real model has; what is larger is a damaged file, refused before anything is allocated.
MAX_SIZE = 1 << 24
# Entries that the configuration of any model may have.
COMMON = (
    "format", "version", "architecture", "dimensions", "tied", "adaptive", "continuous_cache", "bias", "formats",
    "tokenizer", "origin",
)  # fmt: skip


class Fields:
    """A JSON object of the configuration, and where it stands there ("" for the whole, else with a point behind)."""

    def __init__(self, entries: Mapping[str, Any], where: str, path: str) -> None:
        self._entries, self._where, self.path = entries, where, path

    def get(self, key: str) -> Any:
        """An entry as it is; CheckpointError where there is none."""
        if key not in self._entries:
            raise CheckpointError(f"{self.path}: config.json has no {self._where}{key}; see checkpoints/README.md")
        return self._entries[key]

    def name(self, key: str) -> str:
        """An entry's name from the beginning of the configuration."""
        return f"{self._where}{key}"

    def has(self, key: str) -> bool:
        """Whether an entry is there and not null."""
        return self._entries.get(key) is not None

    def check_keys(self, known: Sequence[str]) -> None:
        """Refuse entries that have no meaning."""
        for key in self._entries:
            if key not in known:
                raise CheckpointError(
                    f"{self.path}: {self._where}{key:.60} is not known here, but may matter; known are "
                    f"{', '.join(known)}"
                )

    def _refuse(self, key: str, expected: str) -> CheckpointError:
        found = self._entries[key]
        return CheckpointError(f"{self.path}: {self._where}{key} is {found!r:.60}; expected {expected}")

    def section(self, key: str) -> Fields:
        """A JSON object inside this one."""
        value = self.get(key)
        if not isinstance(value, dict):
            raise self._refuse(key, "a JSON object")
        return Fields(value, f"{self._where}{key}.", self.path)

    def sections(self, key: str) -> list[Fields | None]:
        """A list of JSON objects, or null, inside this one."""
        value = self.get(key)
        if not isinstance(value, list) or not all(entry is None or isinstance(entry, dict) for entry in value):
            raise self._refuse(key, "a list of JSON objects")
        wheres = [f"{self._where}{key}[{n}]." for n in range(len(value))]
        return [None if e is None else Fields(e, where, self.path) for e, where in zip(value, wheres, strict=True)]

    def size(self, key: str, most: int = MAX_SIZE, least: int = 1) -> int:
        """A whole number from ``least`` on."""
        return self._whole(self.get(key), f"{self._where}{key}", most, least)

    def sizes(self, key: str, count: int) -> tuple[int, ...]:
        """A list of whole numbers from 1 on, ``count`` of them at most."""
        values = self.get(key)
        if not isinstance(values, list) or not 1 <= len(values) <= count:
            raise self._refuse(key, f"a list of 1 to {count} sizes")
        return tuple(self._whole(value, f"an entry of {self._where}{key}", MAX_SIZE) for value in values)

    def _whole(self, value: Any, name: str, most: int, least: int = 1) -> int:
        if type(value) is not int or not least <= value <= most:
            raise CheckpointError(
                f"{self.path}: {name} is {value!r:.60}; expected a whole number from {least} to {most}"
            )
        return value

    def flag(self, key: str) -> bool:
        """True or false."""
        value = self.get(key)
        if type(value) is not bool:
            raise self._refuse(key, "true or false")
        return value

    def number(self, key: str, above: float, most: float) -> float:
        """A number above one bound and up to another."""
        value = self.get(key)
        if type(value) not in (int, float) or not above < value <= most:
            raise self._refuse(key, f"a number above {above:g}, up to {most:g}")
        return float(value)

    def choice(self, key: str, known: Sequence[str]) -> str:
        """One of some words."""
        value = self.get(key)
        if value not in known:
            raise self._refuse(key, f"one of {', '.join(known)}")
        return str(value)
