"""Sparse patterns of attention in a checkpoint's configuration, checked."""

from __future__ import annotations

from dataclasses import dataclass

from ..context import MAX_LENGTH
from ..errors import CheckpointError
from ..kernels import attention_pattern as kernels
from .fields import Fields

PATTERNS = ("strided", "fixed", "local_global")
_KINDS = {
    "dense": kernels.DENSE, "strided": kernels.STRIDED, "fixed": kernels.FIXED, "local_global": kernels.LOCAL_GLOBAL,
}  # fmt: skip


@dataclass(frozen=True)
class AttentionPattern:
    """Which of the positions in its window a query sees; ``kernels/attention_pattern.py`` defines the kinds.

    ``extra``: of a ``fixed`` pattern the last positions of each earlier block, of ``local_global`` the global ones.
    """

    kind: str
    local: int = 0
    stride: int = 0
    extra: int = 0

    @property
    def fields(self) -> kernels.Pattern:
        """The pattern as the kernels want it."""
        return kernels.Pattern(_KINDS[self.kind], self.local, self.stride, self.extra)

    @property
    def globals(self) -> int:
        """Positions at the beginning of the context that are seen however far away they are."""
        return self.extra if self.kind == "local_global" else 0


DENSE = AttentionPattern("dense")


def parse_patterns(attention: Fields, layers: int) -> tuple[AttentionPattern, ...]:
    """The pattern of each layer, from ``attention.pattern``: none, one for all, or a list of them, one a layer."""
    if not attention.has("pattern"):
        return (DENSE,) * layers
    if not isinstance(attention.get("pattern"), list):
        return (_pattern(attention.section("pattern")),) * layers
    found = attention.sections("pattern")
    if len(found) != layers:
        raise CheckpointError(
            f"{attention.path}: attention.pattern has {len(found)} entries; expected one for each of {layers} layers"
        )
    return tuple(DENSE if entry is None else _pattern(entry) for entry in found)


def _pattern(fields: Fields) -> AttentionPattern:
    kind = fields.choice("kind", PATTERNS)
    if kind == "strided":
        local, stride = fields.size("local", MAX_LENGTH, 0), fields.size("stride", MAX_LENGTH)
        return AttentionPattern(kind, local=local, stride=stride)
    if kind == "fixed":
        stride = fields.size("stride", MAX_LENGTH)
        return AttentionPattern(kind, stride=stride, extra=fields.size("summary", most=stride))
    return AttentionPattern(kind, local=fields.size("local", MAX_LENGTH, 0), extra=fields.size("global", MAX_LENGTH))
