"""The compiled loop over tokens of a network of steps: a chunk enters, its last vector is frozen, blocks are read out.

Every thread runs this same code on its share of the work and meets the others at barriers. Each output is frozen before
the next token enters, and the readout of the frozen outputs follows once for a block of them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from .attention import forget
from .barrier import meet
from .charge import Meter
from .clock import lap
from .clock import start as start_clock
from .continuous_cache import Continuous, await_token, follow, mix
from .jit import entry, inlined, name_apart
from .lanes import LANES
from .network import ALWAYS, SEVERAL, Chunk, readout_of, step_at
from .readout import Predictions, part_of, read_out
from .steps import run_recurrent_step, run_transformer_step
from .target_rank import rank_kept, ranks_kept_logits

FIRST, COUNT, FRESH = range(3)


class Text(NamedTuple):
    """Tokens that enter, in chunks, and those that are predicted."""

    tokens: Any  # (n,) int64
    chunks: Any  # (m, 3) int64: first token, how many, and whether the context is forgotten before them
    predictions: Predictions  # of the same number as chunks, or none; without chunks any number
    block: int  # predictions read out together
    continuous: Continuous  # the cache that the predictions are mixed with, modified in place


@inlined
def _with_room(network, memory, kept, tokens, team):
    """Positions in the cache once those that no query will see again have made room for ``tokens`` more, if need be."""
    if kept + tokens <= memory.cache.capacity:
        return kept
    first = (kept - network.options.window) // LANES * LANES
    if team.thread == 0:
        forget(memory.cache, network.options.layers, first, kept, network.options.pinned)
    meet(team)
    return kept - first + network.options.pinned


def _loop(run_step: Any, name: str) -> Any:
    """The loop over tokens of networks whose steps ``run_step`` does: what none of them has is not compiled."""

    def enter(network, memory, chunk, team, tally):
        for number in range(network.steps.shape[0]):
            step = step_at(network.steps, number)
            run_step(network, memory, step, chunk, team, tally)
            lap(team.clock, step.region)
            if step.meets == ALWAYS or (step.meets == SEVERAL and chunk.tokens.size > 1):
                meet(team)

    name_apart(enter, name)
    enter_chunk = inlined(enter)

    def run(network, memory, buffers, team, text, tally):
        """Run one thread's share of a piece of text; every thread of the team calls this with the same arguments.

        Parameters
        ----------
        network : Network
        memory : Memory
            State, cache and a recurrent model's buffers live from call to call; all else is overwritten.
        buffers : Buffers
            Of the readout; overwritten.
        team : Team
            The only argument, with ``tally``, in which the threads differ.
        text : Text
            Chunk i enters, the output behind it is frozen, and target i is predicted from it. Without chunks the
            targets are predicted from the frozen outputs as they are; without targets nothing is predicted.
        tally : (regions, kinds, 65, 65) int64 or None
            This thread's tally, modified in place.
        """
        chunks, targets, block = text.chunks.shape[0], text.predictions.targets.size, text.block
        readout = readout_of(network, buffers)
        kept, position = memory.state[0], memory.state[1]
        start_clock(team.clock)
        for start in range(0, max(chunks, targets), block):
            for at in range(start, min(start + block, chunks)):
                first, count = text.chunks[at, FIRST], text.chunks[at, COUNT]
                if text.chunks[at, FRESH]:
                    kept, position = 0, 0
                kept = _with_room(network, memory, kept, count, team)
                chunk = Chunk(text.tokens[first : first + count], kept, position, at - start)
                # Of a chunk the last token is the new one.
                if team.thread == 0 and text.continuous.size > 0:
                    follow(text.continuous, text.tokens[first + count - 1])
                enter_chunk(network, memory, chunk, team, tally)
                if team.thread == 0 and text.continuous.size > 0:
                    await_token(text.continuous, memory.frozen[at - start], at - start)
                kept, position = kept + count, position + count
            if start < targets:
                meet(team)
                part = part_of(text.predictions, start, min(start + block, targets))
                read_out(readout, memory.frozen, part, team, tally)
                if text.continuous.size > 0:
                    meter = Meter(tally, network.options.continuous_region)
                    mix(text.continuous, memory.frozen, network.softmax_bins, part, team, meter)
                    meet(team)
                elif ranks_kept_logits(part):
                    rank_kept(network.softmax_bins, part, team)
                    meet(team)
        meet(team)
        if team.thread == 0:
            memory.state[0], memory.state[1] = kept, position

    name_apart(run, name)
    return entry(run)


run_recurrent = _loop(run_recurrent_step, "recurrent")
run_transformer = _loop(run_transformer_step, "transformer")
