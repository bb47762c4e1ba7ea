"""Cost laws of whole steps: what a chunk of tokens costs, without running it."""

from __future__ import annotations

import numpy as np

from .attention import attend_cost
from .attention_steps import keep_cost
from .charge import ADD, MULTIPLY, Meter, charge
from .inputs import prepare_cost
from .jit import entry, kernel
from .lookup import lookup_cost
from .matrix import FLOAT_BITS, matrix_at, whole_load
from .network import ATTEND, CELL, EMBED, FREEZE, KEEP, NORMALISE, POSITION, PRODUCT, norm_at, step_at
from .norm import norm_cost
from .product import product_cost
from .product_step import action_cost
from .readout import readout_cost
from .recurrent_steps import cell_cost
from .rotary import angles_cost


@kernel
def _embed_cost(network, step, tokens, tally):
    width, meter = network.table.matrix.columns, Meter(tally, step.region)
    lookup_cost(meter, network.table.matrix, width * tokens)
    if network.options.embedding_scale != np.float32(1):
        charge(meter, MULTIPLY, FLOAT_BITS, FLOAT_BITS, width * tokens)
    if network.options.learned_positions:
        place = Meter(tally, step.region + 1)
        lookup_cost(place, network.position_table.matrix, width * tokens)
        charge(place, ADD, FLOAT_BITS, FLOAT_BITS, width * tokens)


@kernel
def _seen(network, step, tokens, kept):
    """Positions that the queries of a step see together."""
    seen = 0
    for t in range(tokens - 1 if step.last else 0, tokens):
        seen += min(kept + t, network.options.window) + 1
    return seen


@kernel
def step_cost(network, step, tokens, kept, tally):
    """What a step costs for some tokens, with ``kept`` positions in the cache before them."""
    rows, meter = 1 if step.last else tokens, Meter(tally, step.region)
    if step.kind == PRODUCT:
        matrix = matrix_at(network.matrices, step.matrix)
        prepare_cost(meter, matrix, rows)
        product_cost(meter, matrix, whole_load(matrix), rows)
        action_cost(meter, step, matrix.rows * rows)
    elif step.kind == NORMALISE:
        norm_cost(meter, norm_at(network.norms, step.matrix), rows)
    elif step.kind == KEEP:
        keep_cost(meter, network, tokens * network.options.key_heads, rows * network.options.heads)
    elif step.kind == ATTEND:
        heads, width = network.options.heads, network.options.head_width
        seen = _seen(network, step, tokens, kept) * heads
        attend_cost(meter, width, seen, rows * heads, network.relative.bits[step.layer])
    elif step.kind == EMBED:
        _embed_cost(network, step, tokens, tally)
    elif step.kind == POSITION:
        angles_cost(meter, network.rotation, tokens)
    elif step.kind == CELL:
        cell_cost(meter, step, step.width)
    elif step.kind == FREEZE and step.matrix >= 0:
        norm_cost(meter, norm_at(network.norms, step.matrix), 1)


@entry
def chunks_cost(network, chunks, tally):
    """Charge chunks and a prediction behind each to ``tally`` (modified in place) from the cost laws alone.

    Parameters
    ----------
    network : Network
    chunks : (n, 2) int64
        Tokens of each, and positions in the cache before it.
    tally : (regions, kinds, 65, 65) int64
    """
    for n in range(chunks.shape[0]):
        for number in range(network.steps.shape[0]):
            step_cost(network, step_at(network.steps, number), chunks[n, 0], chunks[n, 1], tally)
        readout_cost(Meter(tally, network.options.readout_region), network.matrices[network.options.readout :])
