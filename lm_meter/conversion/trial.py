"""The trial run that ends a conversion: the first predictions over the sample text."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..checkpoint import Checkpoint
from ..defaults import sample_text
from ..errors import TextError
from ..text import Text
from ..threads import ThreadTeam
from ..tokenizers import CharacterTokenizer, Tokenizer, WordTokenizer, load_tokenizer

TRIED_TOKENS = 64


@dataclass(frozen=True)
class Trial:
    """A run over a few tokens: how many were predicted, their mean loss (None if there were none), and of what."""

    tokens: int
    loss_nats: float | None
    text: str


def tried(checkpoint: Checkpoint) -> Trial:
    """Predict the beginning of the sample text.

    A vocabulary of words or characters need not have those of the sample text. They become its unknown word if it has
    one, and are left out if not; what was run is said in ``text``.
    """
    tokenizer = load_tokenizer(checkpoint)
    tokens, replaced, name = _tokens(tokenizer)
    if tokenizer.specials.start is not None:
        tokens, replaced = np.insert(tokens, 0, tokenizer.specials.start), np.insert(replaced, 0, 0)
    tokens, replaced = tokens[: TRIED_TOKENS + 1], replaced[: TRIED_TOKENS + 1]
    if unknown := int(replaced[1:].sum()):
        name += f", {unknown} of them words that it does not know"
    runtime = checkpoint.architecture.load(checkpoint, ThreadTeam(1))
    runtime.reserve(1)
    losses = -runtime.run(tokens[:-1], tokens[1:], 1, runtime.new_tallies())
    return Trial(losses.size, float(losses.mean()) if losses.size else None, name)


def _tokens(tokenizer: Tokenizer) -> tuple[np.ndarray, np.ndarray, str]:
    """Tokens of the sample text, where the unknown word stands for others, and what the text is called."""
    text, name = sample_text(), "the sample text"
    try:
        encoded = tokenizer.encode(text, "error" if tokenizer.specials.unknown is None else "unk")
    except TextError:
        if not isinstance(tokenizer, WordTokenizer | CharacterTokenizer):
            raise
        name += " without what its vocabulary lacks"
        text = _known(text, tokenizer)
        if not text.raw.size:
            return np.zeros(0, np.int64), np.zeros(0, np.int64), name
        encoded = tokenizer.encode(text)
    return encoded.tokens, encoded.replaced, name


def _known(text: Text, tokenizer: WordTokenizer | CharacterTokenizer) -> Text:
    """A text without the words, or the characters, that a vocabulary lacks."""

    def known(tokens: list[str]) -> list[str]:
        return [token for token in tokens if tokenizer.number(token) is not None]

    if isinstance(tokenizer, WordTokenizer):
        content = "".join(" ".join(known(words)) + "\n" for words, _ in text.lines())
    else:
        content = "".join(known(list(text.content)))
    return replace(text, raw=np.frombuffer(content.encode(), np.uint8))
