"""Planning both ends of a network: the embedding's step, and the readout."""

from __future__ import annotations

from dataclasses import dataclass

from ..arena import MatrixSource
from ..kernels.bins import NO_MATRIX, Bin
from ..kernels.network import EMBED, NO_BUFFER
from ..regions import SOFTMAX_REGION, Region, lookup_region, weights_region
from .plan import Planner
from .vocabulary import Bins, Vocabulary


@dataclass
class _Ends:
    """What the two ends share while they are planned."""

    planner: Planner
    vocabulary: Vocabulary

    def matrix(self, name: str, source: MatrixSource) -> tuple[int, int]:
        """Number and region of a new matrix."""
        names = [n for n in (source.weight, source.bias) if n]
        self.planner.plan.matrices.append(source)
        region = weights_region(name, [self.planner.formats[n] for n in names])
        return len(self.planner.plan.matrices) - 1, self.planner.region(region)


def plan_embedding(
    planner: Planner, vocabulary: Vocabulary, target: int, to_column: int = 0, positions: Region | None = None
) -> None:
    """The step from a token to its vector in a buffer; ``positions``: the region of learned ones that are added."""
    bins, plan, formats = vocabulary.embedding_bins, planner.plan, planner.formats
    if bins is None:
        region = planner.region(lookup_region("embedding", vocabulary.embedding, formats["embedding"]))
    else:
        numbers = range(len(bins.widths))
        lookups = [lookup_region("embedding", bins.widths[n], formats[f"embedding.{n}"]) for n in numbers]
        moves = dict.fromkeys(move for lookup in lookups for move in lookup.moves)
        region = planner.region(Region("embedding", "lookup", moves=tuple(moves)))
    if positions is not None:
        planner.region(positions)
    widest = max([vocabulary.embedding, *(bins.widths if bins else ())])
    scratch = planner.buffer(widest) if bins or positions else NO_BUFFER
    if bins:
        planner.buffer(vocabulary.embedding)
        plan.embedding_bins = _embedding_bins(_Ends(planner, vocabulary), bins, region)
    planner.step(EMBED, region, NO_BUFFER, target, other=scratch, to_column=to_column)


def _embedding_bins(ends: _Ends, bins: Bins, region: int) -> list[Bin]:
    """The bins, whose rows are numbered when the readout is planned where they are tied to it."""
    found, first = [], 0
    for number, size in enumerate(bins.sizes(ends.vocabulary.size)):
        projection = (NO_MATRIX, NO_MATRIX)
        if bins.is_projected(number):
            name = f"embedding.{number}.projection"
            projection = ends.matrix(name, MatrixSource(name, None))
        found.append(Bin(first, size, NO_MATRIX, projection[0], region, projection[1], NO_MATRIX, NO_MATRIX))
        first += size
    return found


def plan_readout(planner: Planner, vocabulary: Vocabulary, projection: MatrixSource | None = None) -> None:
    """From the frozen output to log-probabilities, through a projection if there is one."""
    plan, ends = planner.plan, _Ends(planner, vocabulary)
    plan.readout = len(plan.matrices)
    if projection is not None:
        plan.projection, plan.projection_region = ends.matrix("projection", projection)
    plan.is_needed = vocabulary.charged == "needed"
    plan.softmax_bins = (
        _plain(ends) if vocabulary.softmax_bins is None else _softmax_bins(ends, vocabulary.softmax_bins)
    )
    plan.softmax_region = planner.region(SOFTMAX_REGION)
    if vocabulary.continuous.size:
        kept = "the output, and the token that follows it, to the cache: a move"
        plan.continuous_region = planner.region(Region("continuous_cache", "normalisation", moves=(kept,)))
    plan.readout_end = len(plan.matrices)
    for number, part in enumerate(plan.embedding_bins):
        if vocabulary.tied:
            matrix = plan.softmax_bins[number].matrix
        else:
            plan.matrices.append(MatrixSource(f"embedding.{number}", None))
            matrix = len(plan.matrices) - 1
        plan.embedding_bins[number] = part._replace(matrix=matrix)


def _plain(ends: _Ends) -> list[Bin]:
    vocabulary = ends.vocabulary
    weight, bias = "embedding" if vocabulary.tied else "softmax.weight", "softmax.bias" if vocabulary.bias else None
    matrix, region = ends.matrix("logits", MatrixSource(weight, bias))
    return [Bin(0, vocabulary.size, matrix, NO_MATRIX, region, NO_MATRIX, NO_MATRIX, NO_MATRIX)]


def _softmax_bins(ends: _Ends, bins: Bins) -> list[Bin]:
    vocabulary, found, first = ends.vocabulary, [], 0
    for number, size in enumerate(bins.sizes(vocabulary.size)):
        projection = clusters = (NO_MATRIX, NO_MATRIX)
        if bins.is_projected(number):
            side = "embedding" if vocabulary.tied_projections else "softmax"
            source = MatrixSource(f"{side}.{number}.projection", None, transposed=vocabulary.tied_projections)
            projection = ends.matrix(f"softmax.{number}.projection", source)
        has_bias = vocabulary.tail_bias if number else vocabulary.bias
        weight = f"embedding.{number}" if vocabulary.tied else f"softmax.{number}.weight"
        source = MatrixSource(weight, f"softmax.{number}.bias" if has_bias else None)
        matrix = ends.matrix(f"logits.{number}", source)
        if number == 0:
            bias = "softmax.clusters.bias" if vocabulary.bias else None
            clusters = ends.matrix("logits.clusters", MatrixSource("softmax.clusters.weight", bias))
        found.append(Bin(first, size, matrix[0], projection[0], matrix[1], projection[1], *clusters))
        first += size
    return found
