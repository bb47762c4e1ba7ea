"""Laws as text: how many operations a region executes, in sizes of the model and in units of the run.

A law is a sum of products of whole numbers and symbols, with parentheses: ``T*(m*n - m) + T*m``. The text is all there
is: what is printed is what is evaluated. A result document holds laws that somebody else may have written, so nothing
but such a text is read.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Container, Mapping

from .errors import ConfigError

MAX_LENGTH = 400
_LARGEST = 1 << 126  # far beyond any count, and what is made of it is still a float
_WORDS = re.compile(r"(?:[A-Za-z][A-Za-z0-9_]*|[0-9]+(?![A-Za-z_])|[ +*()-])+")
_NAMES = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_OPERATORS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul}


def names_in(law: str) -> set[str]:
    """The symbols that stand in a law."""
    return set(_NAMES.findall(law[:MAX_LENGTH]))


def value_of(law: str, symbols: Mapping[str, int], where: str) -> int:
    """The value of a law.

    Parameters
    ----------
    law : str
    symbols : mapping
        The value of each symbol.
    where : str
        What the law was found in, for the message.

    Raises
    ------
    ConfigError
        Where the text is no sum of products of whole numbers and of these symbols.
    """
    try:
        if len(law) > MAX_LENGTH or not _WORDS.fullmatch(law):
            raise ValueError
        value = _value(ast.parse(law.strip(), mode="eval").body, symbols)
        if abs(value) > _LARGEST:
            raise ValueError
        return value
    except (ValueError, KeyError, SyntaxError, RecursionError, MemoryError):
        raise ConfigError(
            f"{where}: the law {law!r:.60} cannot be evaluated; expected sums and products of whole numbers and of the "
            "symbols that the document declares; write it again with eval --output"
        ) from None


def degree_of(law: str, symbols: Container[str]) -> int:
    """The most of ``symbols`` that are multiplied by each other in a law which ``value_of`` can evaluate."""
    return _degree(ast.parse(law.strip(), mode="eval").body, symbols)


def _degree(node: ast.expr, symbols: Container[str]) -> int:
    if isinstance(node, ast.BinOp):
        sides = _degree(node.left, symbols), _degree(node.right, symbols)
        return sum(sides) if isinstance(node.op, ast.Mult) else max(sides)
    return int(isinstance(node, ast.Name) and node.id in symbols)


def _value(node: ast.expr, symbols: Mapping[str, int]) -> int:
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        value: int = _OPERATORS[type(node.op)](_value(node.left, symbols), _value(node.right, symbols))
        return value
    if isinstance(node, ast.Name):
        return symbols[node.id]
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return node.value
    raise ValueError
