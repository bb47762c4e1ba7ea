"""What a loaded model keeps from token to token, as arrays: taken between two calls, put into another one like it.

It depends neither on the number of threads nor on the block, so that a run may go on with others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from ..errors import StateError
from ..kernels.continuous_cache import DROPPED, PAIRS, Continuous
from ..kernels.network import Memory, Network
from .liveness import liveness
from .plan import Plan
from .runtime import padded


def state_buffers(plan: Plan, network: Network, memory: Memory) -> Iterator[tuple[str, np.ndarray]]:
    """The vectors that the next token reads: name and rows, (rows, width) float32, views of the memory."""
    found = liveness(plan.steps, network.options.embedding_width, True).state
    for number in sorted({piece.memory for piece in found if isinstance(piece.memory, int)}):
        offset, width, _, rows = network.buffers[number].tolist()
        yield f"buffer.{number}", memory.buffers[offset : offset + rows * width].reshape(rows, width)


def continuous_snapshot(continuous: Continuous) -> dict[str, np.ndarray]:
    """Pairs that a continuous cache holds, and the output that waits for its token."""
    if continuous.size == 0:
        return {}
    held = int(continuous.state[PAIRS] - continuous.state[DROPPED])
    return {
        "continuous.state": continuous.state.copy(),
        "continuous.last": continuous.last.copy(),
        "continuous.tokens": continuous.tokens[:held].copy(),
        "continuous.outputs": continuous.outputs.keys[: padded(held) * continuous.outputs.width].copy(),
    }


def restore_continuous(continuous: Continuous, arrays: Mapping[str, np.ndarray]) -> None:
    """Put back what ``continuous_snapshot`` took; the pairs must fit, as those that a block may still see do."""
    if continuous.size == 0:
        return
    put("continuous.state", continuous.state, arrays)
    put("continuous.last", continuous.last, arrays)
    held = int(continuous.state[PAIRS] - continuous.state[DROPPED])
    if not 0 <= held <= continuous.outputs.capacity:
        raise StateError(f"continuous.state says that {held} pairs are held; write the state again with eval --state")
    put("continuous.tokens", continuous.tokens[:held], arrays)
    put("continuous.outputs", continuous.outputs.keys[: padded(held) * continuous.outputs.width], arrays)


def put(name: str, place: np.ndarray, arrays: Mapping[str, np.ndarray]) -> None:
    """Copy an array of a snapshot to its place."""
    found = arrays.get(name)
    if found is None or found.shape != place.shape or found.dtype != place.dtype:
        what = "is missing" if found is None else f"is {found.dtype} {list(found.shape)}"
        raise StateError(
            f"array {name} of the state {what}; expected {place.dtype} {list(place.shape)}; write the state again with "
            "eval --state"
        )
    place[...] = found
