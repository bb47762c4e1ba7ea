"""The command of a foreign entry: its words, its time limit, and what it is not told about the text."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path

from .errors import ConfigError

DEFAULT_TIMEOUT = 60.0  # seconds
_END_OF_NAME = r"(?![\w-]|\.\w)"  # book.txt is not named by book.txt-model or book.txt.py
_BETWEEN_NAMES = re.compile(r"[\s=:,;'\"()<>|&]+")
_TEXTS = "LM_METER_DATA"  # variable that names the folder of texts


@dataclass(frozen=True)
class ForeignEntry:
    """Somebody's program.

    Parameters
    ----------
    command : str
        Program and arguments, quoted as for a shell, which does not see them; run in the working directory.
    vocabulary : path, optional
        See ``read_vocabulary``; by default that of the checkpoint that ships.
    timeout : float
        Seconds for the answer to the handshake, and for each distribution.
    """

    command: str
    vocabulary: str | Path | None = None
    timeout: float = DEFAULT_TIMEOUT

    def __post_init__(self) -> None:
        number = self.timeout
        if isinstance(number, bool) or not isinstance(number, int | float) or not 0 < number < float("inf"):
            raise ConfigError(f"entry timeout is {number!r:.40}; expected a number of seconds above 0")
        try:
            words = shlex.split(self.command)
        except ValueError as error:
            raise ConfigError(
                f"entry {self.command!r:.80}: {error}; expected a command, quoted as for a shell"
            ) from None
        if not words or not words[0]:
            raise ConfigError(f"entry {self.command!r:.80} names no program; expected a program and its arguments")

    @property
    def words(self) -> list[str]:
        """Program and arguments."""
        return shlex.split(self.command)

    def files(self) -> list[tuple[str, str]]:
        """The program and the files that the command names, each with its SHA-256; what cannot be read is left out."""
        program, *arguments = self.words
        found = []
        for word, path in [(program, shutil.which(program)), *((word, word) for word in arguments)]:
            with contextlib.suppress(OSError, ValueError):  # it may only be run; a null character
                if path and os.path.isfile(path):
                    with open(path, "rb") as file:
                        found.append((word, hashlib.file_digest(file, "sha256").hexdigest()))
        return found


def refuse_text(words: list[str], text: Path | None) -> None:
    """Refuse a command that names the text: the program is to learn it token by token."""
    if text is None:
        return
    for word in words:
        if _names(word, text):
            raise ConfigError(
                f"--entry: {word!r:.80} names the text that is to be predicted; the program is sent it token by token "
                "and must not read it"
            )


def environment_without(text: Path | None) -> dict[str, str]:
    """The environment but for what is said in it about the text and the folder of texts."""
    return {
        name: value
        for name, value in os.environ.items()
        if name != _TEXTS and not (text is not None and (value == str(text) or _names(value, text)))
    }


def _names(word: str, text: Path) -> bool:
    """Whether a word has the text's path in it, or a part of it, as between blanks, is the name of the same file."""
    for path in (os.path.abspath(text), os.path.realpath(text)):
        if re.search(re.escape(path) + _END_OF_NAME, word):
            return True
    return any(_is_same(part, text) for part in {word, *_BETWEEN_NAMES.split(word)} if part)


def _is_same(name: str, text: Path) -> bool:
    try:
        return os.path.samefile(name, text)
    except (OSError, ValueError):  # no file; a null character
        return False
