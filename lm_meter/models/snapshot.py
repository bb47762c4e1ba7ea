"""What a loaded model keeps from token to token, as arrays: taken between two calls, put into another one like it.

It depends neither on the number of threads nor on the block, so that a run may go on with others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from ..context import CACHE, RECOMPUTE, Context
from ..errors import StateError
from ..kernels.continuous_cache import DROPPED, PAIRS, WAITS, Continuous
from ..kernels.lanes import LANES
from ..kernels.network import Memory, Network
from .liveness import liveness
from .plan import Plan
from .runtime import padded

_MOST_TOKENS = 1 << 62  # of a text: what comes behind must not overflow int64
_AGAIN = "write the state again with eval --state"


def state_numbers(plan: Plan, network: Network) -> list[int]:
    """Numbers of the buffers that the next token reads."""
    found = liveness(plan.steps, network.options.embedding_width, True).state
    return sorted({piece.memory for piece in found if isinstance(piece.memory, int)})


def state_buffers(numbers: Sequence[int], network: Network, memory: Memory) -> Iterator[tuple[str, np.ndarray]]:
    """Vectors of the buffers ``numbers``: name and rows, (rows, width) float32, views of the memory."""
    for number in numbers:
        offset, width, _, rows = network.buffers[number].tolist()
        yield f"buffer.{number}", memory.buffers[offset : offset + rows * width].reshape(rows, width)


def continuous_snapshot(continuous: Continuous) -> dict[str, np.ndarray]:
    """Pairs that the next prediction may see, and the output that waits for its token.

    A large block holds more pairs, for its own predictions, than a small one has room for: those are left out, in
    whole blocks of 16.
    """
    if continuous.size == 0:
        return {}
    held, width = int(continuous.state[PAIRS] - continuous.state[DROPPED]), continuous.outputs.width
    first = max(0, held - continuous.size) // LANES * LANES
    state = continuous.state.copy()
    state[DROPPED] += first
    return {
        "continuous.state": state,
        "continuous.last": continuous.last.copy(),
        "continuous.tokens": continuous.tokens[first:held].copy(),
        "continuous.outputs": continuous.outputs.keys[first * width : padded(held) * width].copy(),
    }


def restore_continuous(continuous: Continuous, arrays: Mapping[str, np.ndarray], vocabulary: int) -> None:
    """Put back what ``continuous_snapshot`` took; the pairs must fit, as those that a block may still see do."""
    if continuous.size == 0:
        return
    put("continuous.state", continuous.state, arrays)
    put("continuous.last", continuous.last, arrays)
    made, dropped, waits = (int(continuous.state[place]) for place in (PAIRS, DROPPED, WAITS))
    held = made - dropped
    if not 0 <= held <= continuous.outputs.capacity:
        raise StateError(f"continuous.state says that {held} pairs are held; {_AGAIN}")
    # All that were made, or those that the next prediction sees.
    if not (held == made <= _MOST_TOKENS or continuous.size <= held <= made <= _MOST_TOKENS) or waits not in (0, 1):
        raise StateError(f"continuous.state is {[made, dropped, waits]}, which no pass can reach; {_AGAIN}")
    put_tokens("continuous.tokens", continuous.tokens[:held], arrays, vocabulary)
    put("continuous.outputs", continuous.outputs.keys[: padded(held) * continuous.outputs.width], arrays)


def put(name: str, place: np.ndarray, arrays: Mapping[str, np.ndarray]) -> None:
    """Copy an array of a snapshot to its place."""
    found = arrays.get(name)
    if found is None or found.shape != place.shape or found.dtype != place.dtype:
        what = "is missing" if found is None else f"is {found.dtype} {list(found.shape)}"
        raise StateError(f"array {name} of the state {what}; expected {place.dtype} {list(place.shape)}; {_AGAIN}")
    place[...] = found


def put_tokens(name: str, place: np.ndarray, arrays: Mapping[str, np.ndarray], vocabulary: int) -> None:
    """Copy tokens, which must be of the vocabulary, to their place."""
    put(name, place, arrays)
    if place.size and not 0 <= place.min() <= place.max() < vocabulary:
        raise StateError(f"array {name} of the state has a token that is none of the {vocabulary}; {_AGAIN}")


def put_position(place: np.ndarray, arrays: Mapping[str, np.ndarray], expected: tuple[int, int] | None) -> None:
    """Copy how many positions are kept and the number of the next one; the two are equal where nothing is forgotten.

    ``expected``: what they must be. None: any number of tokens.
    """
    put("position", place, arrays)
    kept, position = (int(number) for number in place)
    if expected is None and 0 <= kept <= _MOST_TOKENS:
        expected = kept, kept
    if (kept, position) != expected:
        raise StateError(f"position of the state is {[kept, position]}, which its tokens do not lead to; {_AGAIN}")


def position_after(seen: int, context: Context, forgetting: tuple[int, int]) -> tuple[int, int]:
    """Positions kept, and the number of the next one, when ``seen`` tokens have entered.

    ``forgetting``: the cache's capacity, and how many positions stay when it is full: the pinned ones and whole blocks.
    """
    if not 0 <= seen <= _MOST_TOKENS:
        raise StateError(f"seen of the state is {seen} tokens; {_AGAIN}")
    position, length, overlap = seen, context.length, context.overlap
    if context.policy == RECOMPUTE:
        position = min(seen, length)
    elif context.policy != CACHE and seen > length:
        position = overlap + 1 + (seen - 1 - length) % (length - overlap)
    capacity, stay = forgetting
    if position <= capacity:
        return position, position
    return stay + 1 + (position - capacity - 1) % (capacity - stay), position


def staying(capacity: int, window: int, pinned: int) -> int:
    """Positions that stay in a cache that was full, as the token loop forgets the others."""
    return capacity - (capacity - window) // LANES * LANES + pinned
