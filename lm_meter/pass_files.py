"""Files that a pass keeps beside its result."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .errors import ConfigError
from .records import check_records_name

DEFAULT_SAVE_EVERY = 30.0


def checked_files(files: PassFiles | None) -> PassFiles:
    """Files as they were given, or none; ConfigError where it is something else."""
    if files is None:
        return PassFiles()
    if not isinstance(files, PassFiles):
        raise ConfigError(f"files is {files!r:.60}; expected PassFiles, such as PassFiles(records='records.npz')")
    return files


@dataclass(frozen=True)
class PassFiles:
    """Where a pass keeps what.

    Parameters
    ----------
    state : path, optional
        The pass is saved here, so that the same call goes on from it: see ``state_keeper.py``.
    save_every : float
        Seconds between two savings, above 0.
    records : path, optional
        A row for each prediction is written here: see ``records.py``. Its suffix is ``.npz``, ``.csv`` or ``.parquet``.
    """

    state: str | Path | None = None
    save_every: float = DEFAULT_SAVE_EVERY
    records: str | Path | None = None

    def __post_init__(self) -> None:
        if self.records is not None:
            check_records_name(self.records)
        number = self.save_every
        if isinstance(number, bool) or not isinstance(number, int | float) or not 0 < number < float("inf"):
            raise ConfigError(f"save_every is {number!r:.40}; expected a number of seconds above 0")
