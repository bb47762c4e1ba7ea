"""What of a result needs no run, where only a part is run: made again from the checkpoint, the text and the counts."""

from __future__ import annotations

from typing import Any

from .measurement import Predicted
from .online import RECHECK_SEED
from .predicted_sections import predicted_sections, text_section
from .preparation import Prepared
from .profiles import profile_named
from .record_table import Records
from .result import Result, checkpoint_sections, price_result


def figures_without_run(result: Result, prepared: Prepared, records: Records | None) -> dict[str, Any]:
    """The document as it is where nothing but its counts, log-probabilities and activations could be other ones.

    With ``records``, which have the log-probabilities, the loss, the perplexities and their interval are made too.
    """
    document, options = result.document, prepared.options
    scored, partial = prepared.targets.size, prepared.cut
    plan, _ = prepared.checkpoint.architecture.described(prepared.checkpoint, prepared.context)
    sections: dict[str, Any] = {"text": text_section(prepared.text, prepared.encoded, options, scored, partial)}
    if records is not None:
        sittings = document["run"]["sittings"]
        losses = Predicted(prepared.text, prepared.encoded, options, sittings, records.log_prob, partial)
        sections = predicted_sections(losses)
    again = {
        **document,
        "partial": partial,
        **checkpoint_sections(prepared.checkpoint, prepared.context, plan.regions),
        **sections,
        "run": {**document["run"], "seed": RECHECK_SEED},
        "online": {
            **document["online"],
            "bits_equal": True,
            "softmax_bins": prepared.checkpoint.model_config.ends.softmax_evaluated,
        },
    }
    return price_result(Result(again), profile_named(document["operations_per_token"]["profile"])).document
