"""The vocabulary over which a foreign entry predicts: how the text becomes tokens, which the runner decides alone."""

from __future__ import annotations

import codecs
import hashlib
from dataclasses import dataclass
from pathlib import Path

from .checkpoint import Checkpoint
from .defaults import default_checkpoint
from .errors import ConfigError, TextError
from .regular_file import read_regular
from .text import Text
from .tokenizers import Encoded, PieceTokenizer, Specials, Tokenizer, WordTokenizer, load_tokenizer

_END_OF_LINE, _UNKNOWN = "<eos>", "<unk>"
_MOST_BYTES = 1 << 26  # the vocabulary of WikiText-103 has 2.6 million
_SENTENCE_END = "</s>"  # SentencePiece's own, where a model has no <eos>


@dataclass(frozen=True)
class Vocabulary:
    """A tokenizer, and the file that it came from."""

    path: Path
    sha256: str
    tokenizer: Tokenizer

    def tokens(self) -> list[str]:
        """What a report calls each token."""
        return [self.tokenizer.token(number) for number in range(self.tokenizer.size)]

    def encode(self, text: Text, oov: str) -> Encoded:
        """The text as tokens; the errors of the tokenizer, who takes it for a checkpoint's."""
        try:
            return self.tokenizer.encode(text, oov)
        except (ConfigError, TextError) as error:
            message = str(error).replace("the checkpoint's vocabulary", "the entry's vocabulary")
            raise type(error)(message) from None


def vocabulary_path(path: str | Path | None) -> Path:
    """The file of a vocabulary; by default that of the checkpoint that ships."""
    return default_checkpoint() if path is None else Path(path)


def read_vocabulary(path: str | Path | None) -> Vocabulary:
    """The vocabulary in a file.

    Parameters
    ----------
    path : path, optional
        ``NAME.npz``: a checkpoint, whose tokenizer is used. ``NAME.model``: a SentencePiece model. Anything else:
        words, one a line. Words and pieces have ``<eos>``, which ends each line of the text and stands before the
        first; a SentencePiece model may have ``</s>`` instead. ``<unk>`` is what ``--oov unk`` puts for unknown words.
        By default the checkpoint that ships with the package.

    Raises
    ------
    CheckpointError, TextError
    """
    path = vocabulary_path(path)
    if path.suffix == ".npz":
        checkpoint = Checkpoint(path)
        return Vocabulary(path, checkpoint.sha256(), load_tokenizer(checkpoint))
    try:
        raw = read_regular(path, _MOST_BYTES)
    except OSError as error:
        raise TextError(f"{path}: cannot be read ({error.strerror}); expected a vocabulary, one word a line") from None
    tokenizer: PieceTokenizer | WordTokenizer
    if path.suffix == ".model":
        tokenizer = PieceTokenizer(raw, str(path))
        end = _END_OF_LINE if tokenizer.number(_END_OF_LINE) is not None else _SENTENCE_END
    else:
        tokenizer, end = WordTokenizer(_decoded(raw, path), str(path)), _END_OF_LINE
    number = tokenizer.number(end)
    if number is None:
        raise TextError(
            f"{path}: the vocabulary has no {_END_OF_LINE}, which ends each line of the text; expected it as a token"
        )
    tokenizer.specials = Specials(number, number, tokenizer.number(_UNKNOWN))
    return Vocabulary(path, hashlib.sha256(raw).hexdigest(), tokenizer)


def _decoded(raw: bytes, path: Path) -> str:
    if raw.startswith(codecs.BOM_UTF8):
        raise TextError(
            f"{path}: the vocabulary begins with a byte-order mark (U+FEFF), which would be part of its first word; "
            "remove it, as tail -c +4 does"
        )
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise TextError(
            f"{path}: the vocabulary is not UTF-8 (byte {error.start}); expected one word a line, or a NAME.model or "
            "NAME.npz"
        ) from None
