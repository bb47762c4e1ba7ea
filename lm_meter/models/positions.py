"""How a transformer knows the order of its tokens: the entry ``positions`` of its configuration, checked."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import CheckpointError
from .fields import Fields

# Entries of each kind besides ``kind``.
_ENTRIES: dict[str, tuple[str, ...]] = {
    "none": (),
    "learned": ("count",),
    "sinusoidal": ("base", "layout", "exponent", "first"),
    "rotary": ("pairs", "base", "rotated"),
    "relative": ("per_head",),
    "transformer_xl": ("shared_biases",),
}
PAIRS = ("adjacent", "halves")
LAYOUTS = ("interleaved", "halves")
# Of the base, with half = width / 2 and i from 0: Vaswani et al. (2017), and tensor2tensor.
EXPONENTS = ("i/half", "i/(half-1)")
_BASE = 10000.0  # of Transformer-XL


@dataclass(frozen=True)
class Positions:
    """How a model knows the order of its tokens.

    ``learned``: a vector for each of ``count`` positions is added to the embedding. ``sinusoidal``: sines and cosines
    of the position, counted from ``first``, are added to it: frequencies are ``base`` to minus the ``exponent``.
    ``rotary``: the first ``rotated`` numbers of each query and key are turned, in ``pairs``, by angles with a
    ``base``. ``relative``: a learned vector for each distance, up to the attention's window, is multiplied with the
    query; the heads share them unless ``per_head``. ``transformer_xl``: a vector for each distance, a matrix of each
    layer times sinusoids of the distance, is multiplied with the query, which has one bias where it meets keys and
    another where it meets distances; the layers share these if ``shared_biases``. ``none``.
    """

    kind: str
    count: int = 0
    pairs: str = "adjacent"
    base: float = _BASE
    rotated: int = 0
    layout: str = "halves"
    exponent: str = "i/half"
    first: int = 0
    per_head: bool = False
    shared_biases: bool = False

    @property
    def need_window(self) -> bool:
        """Whether a query sees no farther than there are vectors of distances."""
        return self.kind in ("relative", "transformer_xl")


def parse_positions(fields: Fields, width: int, head_width: int) -> Positions:
    """Check ``positions`` of a model of some width; CheckpointError names the entry."""
    kind = fields.choice("kind", tuple(_ENTRIES))
    fields.check_keys(("kind", *_ENTRIES[kind]))
    if kind == "learned":
        return Positions(kind, count=fields.size("count"))
    if kind == "rotary":
        return _rotary(fields, head_width)
    if kind == "relative":
        return Positions(kind, per_head=fields.has("per_head") and fields.flag("per_head"))
    if kind in ("sinusoidal", "transformer_xl") and (width % 2 or width < 4):
        raise CheckpointError(
            f"{fields.path}: dimensions.width is {width}; expected an even number from 4 on for sinusoids"
        )
    if kind == "transformer_xl":
        return Positions(kind, shared_biases=fields.flag("shared_biases"))
    if kind == "sinusoidal":
        return Positions(
            kind,
            base=fields.number("base", 1.0, 1e9),
            layout=fields.choice("layout", LAYOUTS),
            exponent=fields.choice("exponent", EXPONENTS),
            first=fields.size("first", least=0),
        )
    return Positions(kind)


def _rotary(fields: Fields, head_width: int) -> Positions:
    rotated = fields.size("rotated")
    if rotated % 2 or rotated > head_width:
        raise CheckpointError(
            f"{fields.path}: positions.rotated is {rotated}; expected an even number up to the head width {head_width}"
        )
    pairs, base = fields.choice("pairs", PAIRS), fields.number("base", 1.0, 1e9)
    return Positions("rotary", pairs=pairs, base=base, rotated=rotated)
