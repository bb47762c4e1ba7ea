"""A library of tokenizers in a process of its own, whose memory and time are limited: ``worker.py`` runs there.

A tokenizer comes from elsewhere, and a small one may ask for all memory, never end, panic (Rust) or abort (C++, and
Rust where memory runs out). None of that reaches this process: it becomes an error of one line. The process starts with
the first request, in 0.1 s, and lives as long as its owner; where it has ended, the next request starts another one.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import CheckpointError, ConfigError, LmMeterError
from .worker import SIZES

_WORKER = Path(__file__).with_name("worker.py")
_MEGABYTE = 1 << 20


@dataclass(frozen=True)
class Limits:
    """What a request may take: bytes of memory, seconds of a processor, and bytes of its answer.

    Time of a processor, and not of a clock: the verdict does not depend on what else the machine does.
    """

    memory: int
    seconds: int
    answer: int


class LimitedChild:
    """A model in a library.

    Parameters
    ----------
    package : str
        ``tokenizers`` or ``sentencepiece``.
    raw : bytes
        The model.
    what : str
        What messages call it, the file's name first.
    refusal : str
        What they say where the library refuses it, before the reason in brackets.
    limits : Limits
        Of opening it.

    Raises
    ------
    CheckpointError
        Where it cannot be opened within its limits.
    ConfigError
        Where the package is not installed.
    """

    def __init__(self, package: str, raw: bytes, what: str, refusal: str, limits: Limits) -> None:
        self._package, self._raw, self._what, self._refusal, self._limits = package, raw, what, refusal, limits
        self._process: subprocess.Popen[bytes] | None = None
        self._owner, self._lock = 0, threading.Lock()
        with self._lock:
            self._start()

    def ask(
        self, do: str, raw: bytes, limits: Limits, kind: type[LmMeterError] = CheckpointError
    ) -> tuple[Any, memoryview]:
        """What a method of the model answers; ``kind`` is raised where the library refuses the request."""
        with self._lock:
            if self._process is None or self._owner != os.getpid():  # a fork has the pipes of another one's process
                self._start()
            return self._asked({"do": do}, raw, limits, kind)

    def _start(self) -> None:
        command = [sys.executable, "-I", "-S", "-X", "utf8", str(_WORKER), json.dumps(list(map(str, sys.path)))]
        pipe, nothing = subprocess.PIPE, subprocess.DEVNULL
        try:
            # In a session of its own a Ctrl-C does not reach it.
            process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=nothing, start_new_session=True)
        except OSError as error:
            raise ConfigError(
                f"{self._what}: no process can be started in which its library would run ({error.strerror}); allow "
                "more processes, or use less memory"
            ) from None
        self._process, self._owner = process, os.getpid()
        self._end = weakref.finalize(self, _end, process, self._owner)
        self._asked({"do": "open", "package": self._package}, self._raw, self._limits, CheckpointError)

    def _asked(
        self, request: dict[str, Any], raw: bytes, limits: Limits, kind: type[LmMeterError]
    ) -> tuple[Any, memoryview]:
        request |= {"memory": limits.memory, "seconds": limits.seconds, "most": limits.answer}
        said: dict[str, Any] = {}
        content = memoryview(b"")
        try:
            with contextlib.suppress(BrokenPipeError, EOFError):  # it has ended: its status says how
                said, content = self._exchanged(json.dumps(request).encode(), raw)
        finally:
            if "found" not in said:  # also where Ctrl-C came meanwhile: what is asked next would get this answer
                status = self._ended()
        if "found" in said:
            return said["found"], content
        is_open = request["do"] in ("open", "described")
        doing = "when it opens the tokenizer" if is_open else "when it runs the tokenizer"
        if "missing" in said:
            raise ConfigError(
                f"{self._what} needs the package {self._package}, which is not installed; pip install {self._package}"
            )
        if "raised" in said:
            refusal = self._refusal if is_open else "cannot be run over this text"
            raise kind(f"{self._what} {refusal} ({said['raised']})")
        if "size" in said:
            raise CheckpointError(
                f"{self._what}: the package {self._package} makes {said['size']} bytes of {len(raw)} {doing}; at "
                f"most {limits.answer} are taken"
            )
        how = "runs out of memory" if "memory" in said else _how(status)
        raise CheckpointError(
            f"{self._what}: the package {self._package} {how} {doing}; it may take "
            f"{limits.memory // _MEGABYTE} MB and {limits.seconds} s of a processor for that"
        )

    def _exchanged(self, head: bytes, raw: bytes) -> tuple[dict[str, Any], memoryview]:
        assert self._process is not None
        requests, answers = self._process.stdin, self._process.stdout
        assert requests is not None
        assert answers is not None
        for part in (SIZES.pack(len(head), len(raw)), head, raw):
            requests.write(part)
        requests.flush()
        sizes = SIZES.unpack(_exact(answers, SIZES.size))
        said, content = (_exact(answers, size) for size in sizes)
        return json.loads(said), memoryview(content)

    def _ended(self) -> int:
        """End the process; its exit status, negative for a signal."""
        assert self._process is not None
        process, self._process = self._process, None
        self._end.detach()
        return _end(process, self._owner)


def _exact(pipe: Any, size: int) -> bytes:
    raw = pipe.read(size)
    if len(raw) < size:
        raise EOFError
    return raw


def _end(process: subprocess.Popen[bytes], owner: int) -> int:
    """Exit status of a process that is ended by closing its input, or else killed; a fork of its owner leaves it."""
    for pipe in (process.stdin, process.stdout):
        with contextlib.suppress(BrokenPipeError):
            assert pipe is not None
            pipe.close()
    if owner != os.getpid():
        return 0
    process.poll()
    if process.returncode is None:
        process.kill()
    return process.wait()


def _how(status: int) -> str:
    if status == -signal.SIGXCPU:
        return "takes too long"
    if status < 0:
        return f"is ended by signal {-status} ({signal.strsignal(-status)})"
    return f"ends with exit status {status}"


def lists_of(sizes: Iterable[int], values: memoryview) -> list[list[int]]:
    """Lists of numbers that lie one after the other."""
    numbers, first, found = values.cast("q"), 0, []
    for size in sizes:
        found.append(numbers[first : first + size].tolist())
        first += size
    return found
