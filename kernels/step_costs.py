"""Cost laws of whole steps: what a chunk of tokens costs, without running it."""

from __future__ import annotations

from .attention import attend_cost
from .attention_pattern import pattern_at
from .attention_steps import keep_cost
from .charge import Meter
from .continuous_cache import mix_cost
from .embedding import embed_cost
from .experts import choose_cost, mix_experts_cost
from .inputs import prepare_cost
from .jit import entry, kernel
from .matrix import matrix_at, whole_load
from .network import (
    ADD_TO,
    ATTEND,
    CELL,
    EMBED,
    EXPERTS,
    FREEZE,
    KEEP,
    MIX,
    NORMALISE,
    POSITION,
    PRODUCT,
    ROUTE,
    SINUSOID,
    norm_at,
    readout_of,
    step_at,
)
from .norm import norm_cost
from .product import product_cost
from .product_step import action_cost
from .readout import readout_cost
from .recurrent_steps import cell_cost
from .rotary import angles_cost
from .seen_sums import seen_together
from .sinusoid import sinusoid_cost


@kernel
def _seen(network, step, tokens, kept):
    """Positions that the queries of a step see together."""
    pattern, first = pattern_at(network.patterns, step.layer), tokens - 1 if step.last else 0
    return seen_together(pattern, kept + first, tokens - first, network.options.window)


@kernel
def _multiply_cost(network, step, number, rows, tally):
    """A product of a step with a matrix, for some vectors."""
    matrix, meter = matrix_at(network.matrices, number), Meter(tally, step.region)
    prepare_cost(meter, matrix, rows)
    product_cost(meter, matrix, whole_load(matrix), rows)
    action_cost(meter, step, matrix.rows * rows)


@kernel
def step_cost(network, step, row, chunk, tally):
    """What a step costs for a row of the chunks of ``chunks_cost``, whose tokens are ``chunk``, (n,) int64, or any.

    Products of experts are apart: ``experts_cost``.
    """
    tokens, kept = row[0], row[1]
    rows, meter = 1 if step.last else tokens, Meter(tally, step.region)
    if step.kind == PRODUCT:
        _multiply_cost(network, step, step.matrix, rows, tally)
    elif step.kind == NORMALISE:
        norm_cost(meter, norm_at(network.norms, step.matrix), rows)
    elif step.kind == KEEP:
        keep_cost(meter, network, step, (tokens * network.options.key_heads, rows * network.options.heads))
    elif step.kind == ATTEND:
        heads, width = network.options.heads, network.options.head_width
        seen = _seen(network, step, tokens, kept) * heads
        attend_cost(meter, width, seen, rows * heads, network.relative.widths[step.layer])
    elif step.kind == EMBED:
        embed_cost(network, step, chunk, tokens, tally)
    elif step.kind == POSITION:
        angles_cost(meter, network.rotation, tokens)
    elif step.kind == SINUSOID:
        sinusoid_cost(meter, tokens * network.sinusoid.frequencies.size, step.action == ADD_TO)
    elif step.kind == CELL:
        cell_cost(meter, step, step.width)
    elif step.kind == ROUTE:
        choose_cost(meter, network.experts, rows)
    elif step.kind == MIX:
        mix_experts_cost(meter, network.experts, step.width * rows)
    elif step.kind == FREEZE and step.matrix >= 0:
        norm_cost(meter, norm_at(network.norms, step.matrix), 1)


@kernel
def _chunk_cost(network, row, chunk, target, tally):
    """A row of the chunks of ``chunks_cost``, its tokens, (n,) int64 or none, and the token predicted."""
    for number in range(network.steps.shape[0]):
        step_cost(network, step_at(network.steps, number), row, chunk, tally)
    readout_cost(readout_of(network, 0), target, tally)
    mix_cost(Meter(tally, network.options.continuous_region), network.options.output_width, row[2])


@entry
def chunks_cost(network, chunks, tokens, targets, tally):
    """Charge chunks and a prediction behind each to ``tally`` (modified in place) from the cost laws alone.

    Products of experts are apart: ``experts_cost``.

    Parameters
    ----------
    network : Network
    chunks : (n, 3) int64
        Tokens of each, positions of the context before it, and pairs in the continuous cache that its prediction sees.
    tokens : (m,) int64
        Those of all chunks, one behind the other: what an adaptive embedding costs depends on them. Of size 0: all
        tokens are of the first bin.
    targets : (n,) int64
        The tokens predicted: what an adaptive softmax costs depends on them.
    tally : (regions, kinds, 65, 65) int64
    """
    first = 0
    for n in range(chunks.shape[0]):
        chunk = tokens[first : first + chunks[n, 0]]
        _chunk_cost(network, chunks[n], chunk, targets[n], tally)
        first += chunk.size


@entry
def count_chunks(network, chunks, tokens, targets, tally, counts):
    """The operations of each chunk and of a prediction behind it: ``counts`` (n,) int64, written.

    All but the last are arguments of ``chunks_cost``; the tally is one of a single word, 0, that stands for all
    regions, kinds and widths.
    """
    first = 0
    for n in range(chunks.shape[0]):
        chunk = tokens[first : first + chunks[n, 0]]
        _chunk_cost(network, chunks[n], chunk, targets[n], tally)
        counts[n] = tally[0, 0, 0, 0]
        tally[0, 0, 0, 0] = 0
        first += chunk.size


@entry
def experts_cost(network, routed, tally):
    """Charge the products of experts to ``tally`` (modified in place), whose cost depends on who was chosen.

    Parameters
    ----------
    network : Network
    routed : (layers, experts) int64
        How many tokens passed each expert of each layer.
    tally : (regions, kinds, 65, 65) int64
    """
    for number in range(network.steps.shape[0]):
        step = step_at(network.steps, number)
        if step.kind == EXPERTS:
            for e in range(network.experts.total):
                _multiply_cost(network, step, step.matrix + e, routed[step.layer, e], tally)
