"""The errors a user can cause, and can mend.

    LmMeterError
    +-- CheckpointError   a checkpoint file, or what it declares, is not as the specification says
    +-- TextError         a text cannot be read, tokenized or found
    +-- ConfigError       an option or argument is out of range, or does not fit the others
    +-- StateError        the saved state of a pass is damaged, or belongs to another run
    +-- EntryError        somebody's program, run as a foreign entry, breaks the protocol or is too slow
    +-- MeterError        a run contradicts what it must satisfy (a loss that is not finite, bits that differ)

Each message is one line: what was found where, what was expected, what to do. Anything else that is raised is a bug.
"""

from __future__ import annotations

from .printable import printable


class LmMeterError(Exception):
    """Base of all errors that the command line reports as one line, with exit status 2."""

    def __init__(self, message: str) -> None:
        # Names of files, members and keys may contain line ends and escape sequences; the message stays one line.
        super().__init__(printable(" ".join(message.splitlines())))


class CheckpointError(LmMeterError):
    """A checkpoint is missing, damaged, hostile, or contradicts itself."""


class TextError(LmMeterError):
    """A text is missing, not UTF-8, empty, has unknown words, or cannot be downloaded."""


class ConfigError(LmMeterError):
    """An argument is out of range or does not fit the checkpoint."""


class StateError(LmMeterError):
    """A saved state is damaged, hostile, or of another run."""


class ForeignStateError(StateError):
    """A saved state is whole, but of another run: another checkpoint, text, option or version."""


class StateWarning(UserWarning):
    """A saved state was damaged, or could not be written; the pass goes on."""


class RecordsWarning(UserWarning):
    """Records could not be written; the result has none."""


class EntryError(LmMeterError):
    """A foreign entry does not answer in time, or not as the protocol says."""


class MeterError(LmMeterError):
    """A run broke one of its own promises; its numbers must not be used."""
