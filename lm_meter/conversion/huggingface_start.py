"""The token that stands before a text, as the transformers library has it.

Where there is a ``tokenizer.json`` its post-processor decides (transformers 5 asks nothing else, whatever
``add_bos_token`` says). One that puts nothing in front says nothing of whether the model was trained with such a token:
then ``add_bos_token`` counts, and where that is missing too, what the documentation of the tokenizer's class has as
its default. Such a token is needed where the first token of a text is scored, and is not used where that is skipped.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import CheckpointError

# Classes whose add_bos_token is true unless it is said to be false.
_BEGINNING = ("LlamaTokenizer", "CodeLlamaTokenizer", "GemmaTokenizer")
_NOTHING = "the tokenizer puts no token before a text"


def start_token(tokenizer: Mapping[str, Any], settings: Mapping[str, Any], path: str) -> tuple[str | None, str]:
    """The token, None for none, and what says so.

    Parameters
    ----------
    tokenizer, settings : mapping
        Content of ``tokenizer.json`` and of ``tokenizer_config.json``.
    path : str
        What messages call ``tokenizer.json``.
    """
    try:
        before = _before(tokenizer.get("post_processor"))
    except (KeyError, TypeError, IndexError, AttributeError):
        raise CheckpointError(
            f"{path}: its post_processor cannot be read; expected one of the tokenizers package"
        ) from None
    if len(before) > 1:
        return None, f"the post-processor puts {len(before)} tokens before a text, and here there can be one"
    if before:
        return before[0], "the post-processor in tokenizer.json"
    token, added = settings.get("bos_token"), settings.get("add_bos_token")
    token = token.get("content") if isinstance(token, dict) else token
    if not isinstance(token, str):
        return None, _NOTHING
    if added is True:
        return token, "add_bos_token in tokenizer_config.json"
    kind = str(settings.get("tokenizer_class")).removesuffix("Fast")
    if added is None and kind in _BEGINNING:
        return token, f"the default of {kind}"
    return None, _NOTHING


def _before(processor: Mapping[str, Any] | None) -> list[str]:
    """Tokens that a post-processor puts before a text."""
    if processor is None:
        return []
    if processor["type"] == "Sequence":
        return [token for part in reversed(processor["processors"]) for token in _before(part)]
    if processor["type"] in ("BertProcessing", "RobertaProcessing"):
        return [str(processor["cls"][0])]
    if processor["type"] != "TemplateProcessing":
        return []
    found: list[str] = []
    for piece in processor["single"]:
        if "Sequence" in piece:
            break
        found += processor["special_tokens"][piece["SpecialToken"]["id"]]["tokens"]
    return found
