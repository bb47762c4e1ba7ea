"""What of a result needs no run, where only a part is run: made again from the checkpoint, the text and the counts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .activations import activations_of
from .calculation import calculate
from .histogram import rows_from_json
from .measurement import Predicted
from .models.chunk_kinds import chunk_kinds
from .models.moments import moments
from .online import RECHECK_SEED
from .predicted_sections import predicted_sections, text_section, tokenizer_section
from .preparation import Prepared
from .profiles import profile_named
from .record_table import Records
from .result import Result, checkpoint_sections, mean_macs, price_result


def figures_without_run(result: Result, prepared: Prepared, records: Records | None) -> dict[str, Any]:
    """The document as it is where nothing but its counts and log-probabilities could be other ones.

    With ``records``, which have the log-probabilities, the loss, the perplexities and their interval are made too.
    """
    document, options = result.document, prepared.options
    scored, partial = prepared.targets.size, prepared.cut
    plan, network = prepared.checkpoint.architecture.described(prepared.checkpoint, prepared.context)
    ends = prepared.checkpoint.model_config.ends
    chunks = chunk_kinds(network, prepared.context, ends.continuous.size, prepared.inputs, prepared.targets)
    sections: dict[str, Any] = {
        "text": text_section(prepared.text, prepared.encoded, options, scored, partial),
        "tokenizer": tokenizer_section(prepared.tokenizer),
    }
    if records is not None:
        tokens = prepared.text, prepared.encoded, prepared.tokenizer
        losses = Predicted(*tokens, options, document["run"]["sittings"], records.log_prob, partial)
        sections = predicted_sections(losses)
    names = {region.name for region in plan.regions}
    rows = rows_from_json(document["histogram"])
    macs = mean_macs(prepared.checkpoint, prepared.context, sections["text"], rows)
    again = {
        **document,
        "partial": partial,
        # Rows of a region that the run does not have are priced nowhere, and found to be too many.
        "histogram": [row for row in document["histogram"] if row["region"] in names],
        **checkpoint_sections(prepared.checkpoint, prepared.context, plan.regions),
        **sections,
        "operations_per_token": {"macs": macs},
        "activations": activations_of(plan.regions, moments(plan, network, chunks)).to_json(),
        "run": {**document["run"], "seed": RECHECK_SEED},
        "online": {
            **document["online"],
            "bits_equal": True,
            "softmax_bins": ends.softmax_evaluated,
            "own_context": prepared.own_context,
        },
    }
    return price_result(Result(again), profile_named(document["operations_per_token"]["profile"])).document


def counts_beside_laws(found: Mapping[str, Any], again: Mapping[str, Any]) -> Iterator[str]:
    """A message for each row of a histogram that is not what its law gives; ``again`` has the laws."""
    beside = calculate({**found, "calculation": again["calculation"]}, "the result")
    for row in beside.rows if beside else ():
        if row.expected not in (None, row.counted):
            yield (
                f"{row.region}, {row.kind} of {row.bits_a} and {row.bits_b} bits: {row.counted:,} operations in the "
                f"result, {row.expected:,} by its law"
            )
