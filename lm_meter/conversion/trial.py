"""The trial run that ends a conversion: the first predictions over a text. It judges, and is no condition."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..checkpoint import Checkpoint
from ..errors import CheckpointError, MeterError, TextError
from ..models.runtime import Runtime
from ..text import Text
from ..tokenizers import CharacterTokenizer, Tokenizer, WordTokenizer, load_tokenizer

TRIED_TOKENS = 64


@dataclass(frozen=True)
class Trial:
    """A run over a few tokens.

    Attributes
    ----------
    tokens : int
        How many were predicted.
    loss_nats : float or None
        Their mean loss, None if there were none.
    text : str
        What they are of.
    not_run : str or None
        Why nothing was predicted, or what of the text was left out or replaced; None where it was run as it is.
    """

    tokens: int
    loss_nats: float | None
    text: str
    not_run: str | None


def tried(checkpoint: Checkpoint, runtime: Runtime, text: Text) -> Trial:
    """Predict the beginning of a text by a model that has seen nothing yet.

    A vocabulary of words or characters need not have those of the text: they become its unknown word if it has one, and
    are left out if not. A text that the tokenizer cannot encode is not run.

    Raises
    ------
    MeterError
        Where a loss is not finite: a run over such a text has no perplexity.
    """
    tokenizer = load_tokenizer(checkpoint)
    try:
        tokens, replaced, not_run = _tokens(tokenizer, text)
    except (CheckpointError, TextError) as error:  # the former: the tokenizer takes too much for this text
        return Trial(0, None, text.name, str(error))
    if tokenizer.specials.start is not None:
        tokens, replaced = np.insert(tokens, 0, tokenizer.specials.start), np.insert(replaced, 0, 0)
    tokens, replaced = tokens[: TRIED_TOKENS + 1], replaced[: TRIED_TOKENS + 1]
    if unknown := int(replaced[1:].sum()):
        not_run = f"{unknown} words that it does not know are replaced by its unknown word"
    runtime.reserve(1)
    losses = -runtime.run(tokens[:-1], tokens[1:], 1, runtime.new_tallies())
    if not losses.size:
        return Trial(0, None, text.name, not_run or "it has fewer than two tokens")
    if not np.isfinite(losses).all():
        position = int(np.argmin(np.isfinite(losses)))
        raise MeterError(
            f"{checkpoint.path}: its loss at position {position} of {text.name} is {losses[position]}: the model "
            "overflows float32; there is no perplexity, and nothing was written; check the weights of the source"
        )
    return Trial(losses.size, float(losses.mean()), text.name, not_run)


def _tokens(tokenizer: Tokenizer, text: Text) -> tuple[np.ndarray, np.ndarray, str | None]:
    """Tokens of a text, where the unknown word stands for others, and what was left out of it."""
    try:
        encoded = tokenizer.encode(text, "error" if tokenizer.specials.unknown is None else "unk")
    except TextError:
        if not isinstance(tokenizer, WordTokenizer | CharacterTokenizer):
            raise
        known = _known(text, tokenizer)
        if not known.raw.size:
            raise TextError(f"{text.name}: its vocabulary has nothing of it; expected a text of its kind") from None
        encoded = tokenizer.encode(known)
        return encoded.tokens, encoded.replaced, "what its vocabulary lacks is left out"
    return encoded.tokens, encoded.replaced, None


def _known(text: Text, tokenizer: WordTokenizer | CharacterTokenizer) -> Text:
    """A text without the words, or the characters, that a vocabulary lacks."""

    def known(tokens: list[str]) -> list[str]:
        return [token for token in tokens if tokenizer.number(token) is not None]

    if isinstance(tokenizer, WordTokenizer):
        content = "".join(" ".join(known(words)) + "\n" for words, _ in text.lines())
    else:
        content = "".join(known(list(text.content)))
    return replace(text, raw=np.frombuffer(content.encode(), np.uint8))
