"""Saving a pass now and then, and going on from what was saved.

Two files are kept: ``FILE``, and ``FILE.previous`` with the state before it. Each is written whole or not at all.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .environment import versions
from .errors import ForeignStateError, StateError, StateWarning
from .online import OnlinePass
from .pass_files import PassFiles
from .preparation import Prepared
from .run_identity import run_identity
from .saved_state import SavedState, previous_path, read_state, save_state


class StateKeeper:
    """Keeps the state of one pass in a file.

    Parameters
    ----------
    path : Path
    save_every : float
        Seconds between two savings.
    identity : dict
        Of ``state_identity``: a state of another one is refused.
    """

    def __init__(self, path: Path, save_every: float, identity: dict[str, Any]) -> None:
        self.path, self.save_every, self.identity = path, save_every, identity
        self._last = time.monotonic()
        self._saved: int | None = None  # predictions in the file

    def take_up(self, run: OnlinePass) -> None:
        """Go on from the saved state, if there is one.

        Raises
        ------
        StateError
            Where it is of another run, or damaged and there is none before it.
        """
        found = self._found()
        if found is None:
            return
        try:
            run.take_up(found.progress, found.arrays)
        except StateError as error:
            raise StateError(f"{self.path}: {error}") from None
        except (KeyError, TypeError, ValueError) as error:
            raise StateError(
                f"{self.path}: its progress is not a pass's ({error}); delete it, and {previous_path(self.path).name}, "
                "to start anew"
            ) from None
        self._saved = run.done

    def keep(self, run: OnlinePass) -> None:
        """Save if it is time to."""
        if time.monotonic() - self._last >= self.save_every:
            self.save(run)

    def save(self, run: OnlinePass) -> None:
        """Save now, unless nothing was predicted since; what cannot be written is said, and the pass goes on."""
        if self._saved == run.done:
            return
        try:
            save_state(SavedState(self.identity, *run.saved()), self.path)
            self._saved = run.done
        except OSError as error:
            _warn(f"state {self.path}: cannot be written ({error.strerror}); the run goes on, the last state is intact")
        self._last = time.monotonic()

    def _found(self) -> SavedState | None:
        before = previous_path(self.path)
        try:
            found = run_state(self.path, self.identity)
        except ForeignStateError:
            raise
        except StateError as error:
            if not before.exists():
                raise StateError(f"{error}; there is no {before.name} to go on from; delete it to start anew") from None
            found = run_state(before, self.identity)
            _warn(f"state {error}; going on from the one before, {before.name}")
            self._drop_damaged(before)
            return found
        if found is None and before.exists():
            found = run_state(before, self.identity)
            _warn(f"state {self.path}: is not there; going on from the one before, {before.name}")
        return found

    def _drop_damaged(self, before: Path) -> None:
        """The state before takes the damaged one's name: kept as the one before, that would replace a good one."""
        try:
            os.replace(before, self.path)
        except OSError as error:
            _warn(f"state {self.path}: cannot be replaced ({error.strerror})")


def run_state(path: Path, identity: Mapping[str, Any]) -> SavedState | None:
    """The state in a file, None where there is none; ForeignStateError where it is of another run than ``identity``."""
    try:
        found = read_state(path)
    except FileNotFoundError:
        return None
    differences = [
        f"{name} is {found.run.get(name)!r:.20} in it, {value!r:.20} now"
        for name, value in identity.items()
        if found.run.get(name) != value
    ]
    if differences or set(found.run) - set(identity):
        what = "; ".join(differences) or "it has other entries"
        raise ForeignStateError(
            f"{path}: is the state of another run ({what}); choose another file, or delete it to start anew"
        )
    return found


def state_identity(prepared: Prepared) -> dict[str, Any]:
    """What the state of a pass belongs to: the run, and the version that makes it."""
    opened = prepared.checkpoint
    hashes = opened.sha256(), prepared.text.sha256, prepared.encoded.sha256()
    continuous = opened.model_config.ends.continuous
    return run_identity(hashes, prepared.options, prepared.context, continuous) | versions()


def state_keeper(prepared: Prepared, files: PassFiles) -> StateKeeper | None:
    """The keeper of a pass that is to be saved."""
    if files.state is None:
        return None
    return StateKeeper(Path(files.state), files.save_every, state_identity(prepared))


def _warn(message: str) -> None:
    warnings.warn(message, StateWarning, stacklevel=3)
