"""Both ends of a language model: from tokens to vectors, and from vectors to log-probabilities."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..checkpoint import Expected
from ..continuous_cache import MAX_SIZE, MAX_THETA, OFF, ContinuousCache
from ..errors import CheckpointError, ConfigError
from .fields import Fields

ALL, NEEDED = "all", "needed"
# More bins than any real model has.
_MAX_BINS = 16
_BIN_ENTRIES = ("cutoffs", "widths", "project_first")  # of either end


@dataclass(frozen=True)
class Bins:
    """Parts of a vocabulary in the order of its tokens, each with its own width.

    Grave et al., Efficient softmax approximation for GPUs (2017), section 4; Baevski and Auli, Adaptive input
    representations for neural language modeling (2019). ``cutoffs``: the first token of each bin but the first.
    ``widths``: of all bins. ``project_first``: whether the first bin is projected too, as the others always are.
    """

    cutoffs: tuple[int, ...]
    widths: tuple[int, ...]
    project_first: bool

    def sizes(self, vocabulary: int) -> list[int]:
        """Tokens in each bin."""
        return [last - first for first, last in itertools.pairwise((0, *self.cutoffs, vocabulary))]

    def is_projected(self, number: int) -> bool:
        """Whether a bin is projected between its own width and the model's."""
        return number > 0 or self.project_first


@dataclass(frozen=True)
class Vocabulary:
    """The two ends of a model.

    ``size``: V. ``embedding``: width of a token's vector. ``output``: width of the vectors that the softmax reads.
    ``tied``: the softmax uses the embedding's rows, ``tied_projections``: and its bins' projections, transposed.
    ``bias``: of the softmax; in an adaptive one of its first bin and the clusters, ``tail_bias``: of the others.
    ``charged``: ``all`` bins are evaluated for every prediction, or those ``needed`` for its target. ``continuous``:
    the cache that the predictions are mixed with.
    """

    size: int
    embedding: int
    output: int
    tied: bool
    bias: bool
    embedding_bins: Bins | None = None
    softmax_bins: Bins | None = None
    tied_projections: bool = False
    tail_bias: bool = False
    charged: str = ALL
    continuous: ContinuousCache = OFF

    @property
    def softmax_evaluated(self) -> str | None:
        """Which bins of an adaptive softmax are evaluated; None of a plain one."""
        return None if self.softmax_bins is None else self.charged

    def embedding_arrays(self) -> dict[str, Expected]:
        """Arrays of the first end."""
        bins = self.embedding_bins
        if bins is None:
            return {"embedding": Expected((self.size, self.embedding))}
        arrays = {}
        for number, (size, width) in enumerate(zip(bins.sizes(self.size), bins.widths, strict=True)):
            arrays[f"embedding.{number}"] = Expected((size, width))
            if bins.is_projected(number):
                arrays[f"embedding.{number}.projection"] = Expected((self.embedding, width))
        return arrays

    def softmax_arrays(self) -> dict[str, Expected]:
        """Arrays of the second end, without those that are tied to the first."""
        bins, arrays = self.softmax_bins, {}
        if bins is None:
            if not self.tied:
                arrays["softmax.weight"] = Expected((self.size, self.output))
            if self.bias:
                arrays["softmax.bias"] = Expected((self.size,))
            return arrays
        for number, (size, width) in enumerate(zip(bins.sizes(self.size), bins.widths, strict=True)):
            if bins.is_projected(number) and not self.tied_projections:
                arrays[f"softmax.{number}.projection"] = Expected((width, self.output))
            if not self.tied:
                arrays[f"softmax.{number}.weight"] = Expected((size, width))
            if self.tail_bias if number else self.bias:
                arrays[f"softmax.{number}.bias"] = Expected((size,))
        arrays["softmax.clusters.weight"] = Expected((len(bins.cutoffs), bins.widths[0]))
        if self.bias:
            arrays["softmax.clusters.bias"] = Expected((len(bins.cutoffs),))
        return arrays

    def tied_arrays(self) -> dict[str, str]:
        """Tensors that are stored once and used twice: name of the second use, and of the stored one."""
        if self.softmax_bins is None:
            return {"softmax.weight": "embedding"} if self.tied else {}
        names = range(len(self.softmax_bins.widths))
        found: dict[str, str] = {}
        if self.tied:
            found |= {f"softmax.{number}.weight": f"embedding.{number}" for number in names}
        if self.tied_projections:
            projected = [number for number in names if self.softmax_bins.is_projected(number)]
            found |= {f"softmax.{number}.projection": f"embedding.{number}.projection" for number in projected}
        return found

    def float_arrays(self) -> frozenset[str]:
        """Arrays that must be floating-point numbers, none pruned: projections that are used transposed too."""
        return frozenset(name for name in self.tied_arrays().values() if name.endswith(".projection"))


def parse_vocabulary(config: Mapping[str, Any], widths: tuple[int, int], path: str) -> Vocabulary:
    """Check what a configuration says of both ends.

    Parameters
    ----------
    config : mapping
        ``dimensions.vocabulary``, ``tied``, ``bias.softmax`` and perhaps ``adaptive`` and ``continuous_cache``.
    widths : (int, int)
        Of the embedding, and of the vectors that the softmax reads.
    path : str
        Of the checkpoint.

    Raises
    ------
    CheckpointError
    """
    top = Fields(config, "", path)
    size, tied, bias = top.section("dimensions").size("vocabulary"), top.flag("tied"), top.section("bias")
    continuous = _continuous(top.section("continuous_cache")) if top.has("continuous_cache") else OFF
    if not top.has("adaptive"):
        result = Vocabulary(size, *widths, tied, bias.flag("softmax"), continuous=continuous)
        if tied and widths[0] != widths[1]:
            raise CheckpointError(
                f"{path}: the softmax is tied to the embedding of width {widths[0]}, but reads vectors of width "
                f"{widths[1]}; expected the same width (a projection to it, or tied: false)"
            )
        return result
    adaptive = top.section("adaptive")
    adaptive.check_keys(("embedding", "softmax", "tied_projections"))
    embedding, softmax = (adaptive.section(end) if adaptive.has(end) else None for end in ("embedding", "softmax"))
    if embedding:
        embedding.check_keys(_BIN_ENTRIES)
    if softmax:
        softmax.check_keys((*_BIN_ENTRIES, "tail_bias", "charged"))
    result = Vocabulary(
        size,
        *widths,
        tied,
        bias.flag("softmax"),
        _bins(embedding, size, widths[0]) if embedding else None,
        _bins(softmax, size, widths[1]) if softmax else None,
        tied_projections=adaptive.flag("tied_projections"),
        tail_bias=softmax.flag("tail_bias") if softmax else False,
        charged=softmax.choice("charged", (ALL, NEEDED)) if softmax else ALL,
        continuous=continuous,
    )
    _check_ties(result, path)
    return result


def _continuous(fields: Fields) -> ContinuousCache:
    size, theta = fields.size("size", MAX_SIZE), fields.number("theta", 0.0, MAX_THETA)
    share = fields.number("lambda", 0.0, 1.0)
    try:
        return ContinuousCache(size, theta, share)
    except ConfigError as error:
        raise CheckpointError(f"{fields.path}: {error}") from None


def _bins(fields: Fields, vocabulary: int, width: int) -> Bins:
    """Cutoffs and widths of one end's bins, which are projected to or from ``width``."""
    cutoffs = fields.sizes("cutoffs", _MAX_BINS - 1)
    if list(cutoffs) != sorted(set(cutoffs)) or cutoffs[-1] >= vocabulary:
        raise CheckpointError(
            f"{fields.path}: {fields.name('cutoffs')} is {list(cutoffs)}; expected ascending numbers below the "
            f"vocabulary's {vocabulary}"
        )
    bins = Bins(cutoffs, fields.sizes("widths", _MAX_BINS), fields.flag("project_first"))
    if len(bins.widths) != len(cutoffs) + 1:
        raise CheckpointError(
            f"{fields.path}: {fields.name('widths')} is {list(bins.widths)}; expected one for each of "
            f"{len(cutoffs) + 1} bins"
        )
    if not bins.project_first and bins.widths[0] != width:
        raise CheckpointError(
            f"{fields.path}: {fields.name('widths')} begins with {bins.widths[0]}, but the first bin is not projected; "
            f"expected {width}, or project_first: true"
        )
    return bins


def _check_ties(vocabulary: Vocabulary, path: str) -> None:
    """What is tied must have the same shapes at both ends."""
    if vocabulary.tied and vocabulary.embedding_bins != vocabulary.softmax_bins:
        raise CheckpointError(
            f"{path}: the softmax is tied to the embedding, but adaptive.embedding and adaptive.softmax have other "
            "cutoffs, widths or first projections; expected the same, or tied: false"
        )
    if vocabulary.tied_projections and (not vocabulary.tied or vocabulary.embedding != vocabulary.output):
        raise CheckpointError(
            f"{path}: adaptive.tied_projections is true; expected tied bins, and an embedding as wide as the vectors "
            "that the softmax reads"
        )
