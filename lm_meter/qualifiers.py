"""What has to be known of a result's figures beside the figures: each as a few words, and as a sentence.

Every view takes them from here: a table of one result or of several, CSV, Markdown, ranks, comparisons and reports. A
qualifier is added in one place: a function of the document in ``_OF_DOCUMENTS``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .models.vocabulary import NEEDED
from .printable import counted
from .text_in_tokens import LONG_TOKEN, hold_text
from .verdicts import MAX_TOLERANCE, Validation, Verdict

# Blanks at the ends of lines are some bytes of most texts, and no news; of indented code they may be half.
_FEW_UNSCORED = 10  # a part of the bytes, of which a smaller one is said beside bits per byte only


@dataclass(frozen=True)
class Qualifier:
    """A qualifier of a result.

    Attributes
    ----------
    label : str
        A few words, for a cell of a table.
    sentence : str
        The same for whoever has room, to be read after the label and a colon.
    excludes : bool
        Whether a result with it takes no rank, and no place on a Pareto front.
    """

    label: str
    sentence: str
    excludes: bool = False


def qualifiers_of(
    document: Mapping[str, Any], validation: Validation | None = None, max_tolerance: float = MAX_TOLERANCE
) -> list[Qualifier]:
    """The qualifiers of a result.

    Parameters
    ----------
    document : mapping
        A result document, as ``load_result`` and ``evaluate`` give it.
    validation : Validation, optional
        Where the result is one of ``lm-meter validate``.
    max_tolerance : float
        The widest tolerance of a claim that may pass, as a fraction of it.
    """
    found = [qualifier(document) for qualifier in _OF_DOCUMENTS]
    if validation is not None:
        found.append(_validated(validation, max_tolerance))
    return [qualifier for qualifier in found if qualifier is not None]


def labels(qualifiers: Sequence[Qualifier]) -> str:
    """All labels, for one cell of a table."""
    return "; ".join(qualifier.label for qualifier in qualifiers)


def sentences(qualifiers: Sequence[Qualifier]) -> list[str]:
    """Each label with its sentence, once."""
    return list(dict.fromkeys(f"{qualifier.label}: {qualifier.sentence}" for qualifier in qualifiers))


def words_replaced(document: Mapping[str, Any]) -> int:
    """Word tokens that the unknown token stands for, in whole or in part; of older results tokens of the model."""
    text = document["text"]
    return int(text.get("word_tokens_replaced") or text["replaced_by_unk"])


def _partial(document: Mapping[str, Any]) -> Qualifier | None:
    if not document["partial"]:
        return None
    return Qualifier("partial", "the pass was interrupted; the figures cover the tokens up to there", excludes=True)


def _older(document: Mapping[str, Any]) -> Qualifier | None:
    if document["text"]["lost_characters"] is not None and document["tokenizer"] is not None:
        return None
    sentence = (
        "an earlier version wrote it, which did not know what of a text its tokens say, nor what a tokenizer stores"
    )
    return Qualifier("older result", sentence, excludes=True)


def _unmetered(document: Mapping[str, Any]) -> Qualifier | None:
    if document["entry"] is None:
        return None
    sentence = "somebody's own program predicted; what it says of its operations and storage nobody has counted"
    return Qualifier("unmetered", sentence, excludes=True)


def _words_replaced(document: Mapping[str, Any]) -> Qualifier | None:
    count, of = words_replaced(document), document["text"]["word_tokens"]
    if not count:
        return None
    return Qualifier(
        f"{counted(count, 'word')} replaced",
        f"of {of:,} word tokens {count:,} are not in the vocabulary, and <unk> was predicted for them; the perplexity "
        "is not one of this text",
        excludes=True,
    )


def _lost(document: Mapping[str, Any]) -> Qualifier | None:
    count = document["text"]["lost_characters"]
    if not count or words_replaced(document):
        return None
    return Qualifier(
        f"{counted(count, 'character')} lost",
        "the tokenizer changes them, so that another text has the same tokens; the perplexity is not one of this text",
        excludes=True,
    )


def _in_tokens(document: Mapping[str, Any]) -> Qualifier | None:
    text = document["text"]
    if not hold_text(text):
        return None
    return Qualifier(
        "tokens hold the text",
        f"{text['word_tokens'] / text['scored']:,.2f} word tokens a prediction, and of {text['bytes']:,} bytes "
        f"{text['bytes_in_long_tokens'] or 0:,} in tokens of more than {LONG_TOKEN}: the tokenizer knows the text",
        excludes=True,
    )


def _not_scored(document: Mapping[str, Any]) -> Qualifier | None:
    text = document["text"]
    if _FEW_UNSCORED * (text["unscored_bytes"] or 0) <= text["bytes"]:
        return None
    return Qualifier(
        f"{counted(text['unscored_bytes'], 'byte')} not scored",
        f"of {text['bytes']:,} bytes, more than a tenth; they are blanks that no token says, and bits per byte are "
        "over all bytes",
    )


def _part_of_text(document: Mapping[str, Any]) -> Qualifier | None:
    text = document["text"]
    if text["whole"] or document["partial"]:
        return None
    return Qualifier("part of the text", f"the first {counted(text['word_tokens'], 'word token')} of it were predicted")


def _first_token(document: Mapping[str, Any]) -> Qualifier | None:
    if document["text"]["first_token"] != "skip":
        return None
    return Qualifier("first token skipped", "the first token of the text is context only and was not predicted")


def _needed_bins(document: Mapping[str, Any]) -> Qualifier | None:
    if document["online"]["softmax_bins"] != NEEDED:
        return None
    return Qualifier(
        "needed bins",
        "of the adaptive softmax only the first bin and that of the token that came were evaluated and charged; a "
        "whole distribution takes all bins",
        excludes=True,
    )


def _long_context(document: Mapping[str, Any]) -> Qualifier | None:
    own, context = document["online"].get("own_context"), document["online"]["context"]
    if own is None or context is None or context <= own:
        return None
    return Qualifier(
        f"context {context:,} > {own:,}",
        f"predictions were made from up to {context:,} tokens, more than the {own:,} that the checkpoint gives as its "
        "own context; beyond that a model predicts worse as a rule",
    )


def _other_bits(document: Mapping[str, Any]) -> Qualifier | None:
    if document["online"]["bits_equal"] is not False:
        return None
    return Qualifier("bits differ", "positions that were recomputed alone have other bits", excludes=True)


# In the order in which they are shown.
_OF_DOCUMENTS: tuple[Callable[[Mapping[str, Any]], Qualifier | None], ...] = (
    _partial,
    _older,
    _unmetered,
    _other_bits,
    _words_replaced,
    _lost,
    _in_tokens,
    _not_scored,
    _part_of_text,
    _first_token,
    _needed_bins,
    _long_context,
)


def _validated(validation: Validation, max_tolerance: float) -> Qualifier:
    """Which claims do not pass, or how wide the tolerance behind their passing is."""
    failed = validation.failed(max_tolerance)
    if failed:
        reasons = "; ".join(_reason(verdict, max_tolerance) for verdict in failed)
        names = ", ".join(verdict.name for verdict in failed)
        return Qualifier(f"fails validation ({names})", f"{validation.entry}: {reasons}", excludes=True)
    widest, claims = f"{100 * validation.widest:g} %", counted(len(validation.verdicts), "claim")
    return Qualifier(f"validated within {widest}", f"{validation.entry}: {claims}, none off by more than {widest}")


def _reason(verdict: Verdict, max_tolerance: float) -> str:
    if verdict.tolerance > max_tolerance:
        return f"{verdict.name} allows itself {100 * verdict.tolerance:g} %, more than {100 * max_tolerance:g} %"
    measured = "nothing" if verdict.measured is None else f"{verdict.measured:.8g}"
    return (
        f"{verdict.name} is claimed {verdict.claimed:.8g}, measured {measured}, allowed {100 * verdict.tolerance:g} %"
    )
