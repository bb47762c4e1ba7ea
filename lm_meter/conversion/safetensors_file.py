"""Tensors of a ``*.safetensors`` file, whose header is held against the file's size before its library sees it."""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import CheckpointError
from ..regular_file import open_regular
from .extras import needed

_SIZE = struct.Struct("<Q")
# The library takes 100 million; 100,000 tensors with names of 60 letters have 15 million.
_MOST_HEADER_BYTES = 1 << 24


def read_safetensors(path: Path) -> dict[str, Mapping[str, Any]]:
    """Tensors by name: ``dtype``, ``shape`` and ``data`` of each.

    Raises
    ------
    CheckpointError
    """
    safetensors = needed("safetensors", "huggingface")
    refused = f"{path}: is no safetensors file that can be read"
    with open_regular(path) as file:
        size, begin = os.fstat(file.fileno()).st_size, file.read(_SIZE.size)
        header = _SIZE.unpack(begin)[0] if len(begin) == _SIZE.size else size
        if header > min(size - _SIZE.size, _MOST_HEADER_BYTES):
            raise CheckpointError(
                f"{refused} (its header has {header} bytes, the file {size}; expected at most {_MOST_HEADER_BYTES}, "
                "and all in the file)"
            )
        raw = begin + file.read(size - _SIZE.size)
    try:
        return dict(safetensors.deserialize(raw))
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a panic of Rust is no Exception
        raise CheckpointError(f"{refused} ({error!s:.80})") from None
