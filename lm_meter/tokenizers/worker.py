"""The process in which the libraries of tokenizers run: ``limited_child.py`` starts this file as a program.

It imports nothing of ours, so that it begins quickly. A request and an answer are each a frame: two sizes (uint64), a
JSON object, and bytes. Before each request it limits itself to the memory and the time of a processor that the request
names; beyond them the library aborts or is ended by a signal, and this process with it. Whatever a library raises is
sent back as text: panics of Rust too, which are no ``Exception``.
"""

from __future__ import annotations

import array
import contextlib
import json
import os
import resource
import struct
import sys
import threading
import time
from typing import IO, Any

SIZES = struct.Struct("<QQ")
_SAID = 80  # characters of the last line of what a library says
_WITHOUT_PROC = 1 << 30  # bytes that this process may have already, where the system does not say it


def _limit(memory: int, seconds: int) -> None:
    """From here on this process may take so many bytes and seconds more."""
    try:
        with open("/proc/self/statm", "rb") as file:
            taken = int(file.read().split()[0]) * resource.getpagesize()
    except OSError:
        taken = _WITHOUT_PROC
    _set_limit(resource.RLIMIT_AS, taken + memory)
    _set_limit(resource.RLIMIT_CPU, int(time.process_time()) + seconds)


def _set_limit(what: int, wanted: int) -> None:
    most = resource.getrlimit(what)[1]
    known = [limit for limit in (wanted, most) if limit != resource.RLIM_INFINITY]
    with contextlib.suppress(OSError, ValueError):  # of memory macOS takes none
        resource.setrlimit(what, (min(known, default=resource.RLIM_INFINITY), most))


class TokenizersModel:
    """A ``tokenizer.json`` in the package tokenizers."""

    def __init__(self, raw: bytes) -> None:
        import tokenizers

        self._model = tokenizers.Tokenizer.from_buffer(raw)
        # Padding would add to the text, truncation would cut it.
        self._model.no_padding()
        self._model.no_truncation()

    def described(self, _: bytes) -> tuple[Any, bytes]:
        """All tokens by number and all numbers by token."""
        size = self._model.get_vocab_size(with_added_tokens=True)
        numbers = self._model.get_vocab(with_added_tokens=True)
        names = [self._model.id_to_token(number) for number in range(size)]
        return {"tokens": names, "numbers": numbers}, b""

    def settings(self, _: bytes) -> tuple[Any, bytes]:
        """The tokenizer as JSON."""
        return None, self._model.to_str().encode()

    def encoded(self, raw: bytes) -> tuple[Any, bytes]:
        """Number, first character and the one after the last, of each token of a text."""
        found = self._model.encode(raw.decode(), add_special_tokens=False)
        offsets = found.offsets
        columns = (found.ids, [begin for begin, _ in offsets], [end for _, end in offsets])
        return len(offsets), b"".join(array.array("q", column).tobytes() for column in columns)

    def decoded(self, raw: bytes) -> tuple[Any, bytes]:
        """Text of numbers, special tokens included."""
        numbers = array.array("q", raw).tolist()
        return None, self._model.decode(numbers, skip_special_tokens=False).encode()


class SentencePieceModel:
    """A model of the package sentencepiece."""

    def __init__(self, raw: bytes) -> None:
        import sentencepiece

        self._model = sentencepiece.SentencePieceProcessor()
        self._model.LoadFromSerializedProto(raw)

    def described(self, _: bytes) -> tuple[Any, bytes]:
        """All pieces, which of them are single bytes or stand for nothing, and the number of the unknown one."""
        size = self._model.get_piece_size()
        names = [self._model.id_to_piece(piece) for piece in range(size)]
        single = [piece for piece in range(size) if self._model.is_byte(piece)]
        controls = [piece for piece in range(size) if self._model.is_control(piece)]
        return {"pieces": names, "bytes": single, "controls": controls, "unknown": self._model.unk_id()}, b""

    def encoded(self, raw: bytes) -> tuple[Any, bytes]:
        """Numbers of the pieces of each line: how many for each, and all of them."""
        found = self._model.encode(json.loads(raw), num_threads=1)
        return list(map(len, found)), b"".join(array.array("q", numbers).tobytes() for numbers in found)

    def written(self, raw: bytes) -> tuple[Any, bytes]:
        """Pieces of each line as text; what is unknown as it stands there."""
        return self._model.encode(json.loads(raw), out_type=str, num_threads=1), b""

    def normalised(self, raw: bytes) -> tuple[Any, bytes]:
        """A line as it is normalised, and where each of its characters stood."""
        normal, places = self._model.Normalize(raw.decode(), with_offsets=True)
        return [normal, list(places)], b""

    def decoded(self, raw: bytes) -> tuple[Any, bytes]:
        """Lines of numbers."""
        return self._model.decode(json.loads(raw), num_threads=1), b""


def _answer(request: dict[str, Any], raw: bytes, models: list[Any]) -> tuple[bytes, bytes]:
    """The two parts of an answer. Its object has one key, which says what came of the request."""
    try:
        _limit(request["memory"], request["seconds"])
        found, content = _done(request, raw, models)
        said = json.dumps({"found": found}).encode()
        if len(said) + len(content) <= request["most"]:
            return said, content
        failed: dict[str, Any] = {"size": len(said) + len(content)}
    except ImportError as error:
        failed = {"missing": str(error.name)}
    except MemoryError:
        failed = {"memory": None}
    except BaseException as error:  # a panic of Rust is one
        lines = str(error).strip().splitlines()
        failed = {"raised": lines[-1][:_SAID] if lines else type(error).__name__}
    return json.dumps(failed).encode(), b""


def _done(request: dict[str, Any], raw: bytes, models: list[Any]) -> tuple[Any, bytes]:
    if request["do"] != "open":
        return getattr(models[0], request["do"])(raw)
    models[:] = [{"tokenizers": TokenizersModel, "sentencepiece": SentencePieceModel}[request["package"]](raw)]
    return None, b""


def _exact(pipe: IO[bytes], size: int) -> bytes:
    raw = pipe.read(size)
    if len(raw) < size:  # lm-meter has ended
        os._exit(0)
    return raw


def _end_with(parent: int) -> None:
    """End this process, whatever it does, a second after its parent has: that may be ended by SIGKILL."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(0)


def main() -> None:
    """Answer requests until there are no more."""
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    sys.path += json.loads(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    requests, answers = (os.fdopen(os.dup(descriptor), mode) for descriptor, mode in ((0, "rb"), (1, "wb")))
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1):  # what a library prints is no answer
        os.dup2(nothing, descriptor)
    models: list[Any] = []
    while True:
        for what in (resource.RLIMIT_AS, resource.RLIMIT_CPU):  # else a long text would have to fit into the last one's
            _set_limit(what, resource.RLIM_INFINITY)
        sizes = SIZES.unpack(_exact(requests, SIZES.size))
        head, raw = (_exact(requests, size) for size in sizes)
        said, content = _answer(json.loads(head), raw, models)
        answers.write(SIZES.pack(len(said), len(content)) + said)
        answers.write(content)
        answers.flush()


if __name__ == "__main__":
    main()
