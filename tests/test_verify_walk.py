"""Every field of a result is altered, one after the other: ``verify`` names each, but what only the machine knows."""

import copy
import json

import pytest
from tiny import TEXT, tiny_checkpoint

import lm_meter
from lm_meter import cli
from lm_meter.pass_files import PassFiles

# Times, and what says of the machine; README says that they are not compared.
OF_THE_MACHINE = ("speed.seconds", "speed.load_seconds", "speed.compile_seconds", "memory.", "environment.")
OF_THE_MOMENT = ("run.options.threads", "run.sittings", "online.positions_rechecked")
# Values that could be a run's, of fields that have few.
PLAUSIBLE = {
    "text.first_token": "skip",
    "run.options.first_token": "skip",
    "run.options.limit": 100,
    "run.options.oov": "unk",
    "run.options.policy": "recompute",
    "run.options.context": 5,
    "run.options.continuous_cache": "9,0.5,0.2",
    "online.policy": "recompute",
    "online.context": 5,
    "operations_per_token.profile": "micronet-2019-final",
}
# What is said where it is not the field itself: what no longer fits it.
SAID = {
    "schema": "schema is 'lm-meter/result/1x'",
    "partial": "text.whole is True; expected one of False",
    "checkpoint.path": "m.npzx: the result's checkpoint is not here",
    "entry": "checkpoint.sha256 is",
    "text.name": "textx: the result's text is not here",
    "text.first_token": "run.options.first_token is",
    "operations_per_token.profile": "operations_per_token.unit is",
    **dict.fromkeys(
        [f"online.continuous_cache.{key}" for key in ("size", "theta", "lambda")], "and online.continuous_cache, is '"
    ),
    **dict.fromkeys(
        [f"tokenizer.{part}_bits" for part in ("vocabulary", "merges", "scores", "rules")], "tokenizer.bits"
    ),
    "text.tokens_sha256": "chain.links.0, the hash of",
    "text.word_tokens": "perplexity.word is",
    "text.scored": "text.pieces is",
    "text.bytes": "perplexity.bits_per_byte is",
    "run.options.continuous_cache": "online.continuous_cache is",
    "run.options.policy": "--policy and --context are for transformers",
    "run.options.context": "--policy and --context are for transformers",
    "nll_nats": "perplexity.word is",
    "histogram.region": "contradicts itself (KeyError: ",
    "histogram.bits_a": " operations in the result, ",
    "histogram.bits_b": " operations in the result, ",
    "histogram.count": " operations in the result, ",
    "regions.name": "activations.by_region.0.region is",
    "storage.tensors.shape": "storage.tensors.0.count is",
    "storage.tensors.width": "storage.bits is",
    "speed.tokens_per_second": "speed.bandwidth_fraction is",
    "speed.weight_bytes_per_token": "speed.bandwidth_fraction is",
    "speed.stream_bytes_per_second": "speed.bandwidth_fraction is",
    "online.block": "run.options.block is",
    "records.file": "r.csvx are not here",
    "records.sha256": "r.csv: the records have SHA-256",
}


def _leaves(value, path=()):
    """Places of all plain values and empty lists, and the values."""
    if isinstance(value, dict | list) and value:
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _leaves(inner, (*path, key))
    else:
        yield path, value


def _altered(value):
    """Something like it."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, float):
        return value * 1.001 if value else 0.5
    if isinstance(value, str) and len(value) == 64:
        return ("1" if value[0] == "0" else "0") + value[1:]
    if isinstance(value, str):
        return value + "x"
    return ["x"] if value == [] else 1


def _of_each_kind(document):
    """The first value of each field; those of a list's rows are one field."""
    found = {}
    for path, value in _leaves(document):
        found.setdefault(".".join(key for key in path if isinstance(key, str)), (path, value))
    return found.items()


def _made(tmp_path):
    """The document of a result."""
    options = lm_meter.RunOptions(threads=1, continuous_cache="7,0.5,0.2")
    tiny_checkpoint(tmp_path / "m.npz", kind="characters")
    (tmp_path / "text").write_text(TEXT * 8, encoding="utf-8")
    files = PassFiles(records=tmp_path / "r.csv")
    result = lm_meter.evaluate(tmp_path / "m.npz", text=tmp_path / "text", options=options, files=files)
    return json.loads(result.to_json())


@pytest.mark.parametrize("part", [(), ("--positions", "0:1")])
def test_every_altered_field_is_named(part, tmp_path, capsys, monkeypatch):
    # Of the machine, and slow to be found.
    monkeypatch.setattr("lm_meter.evaluation.stream_bytes_per_second", lambda *_: 1e9)
    monkeypatch.setattr("lm_meter.result.describe", lambda threads: {"threads": threads, "cpu": "any"})
    folder, document = tmp_path, _made(tmp_path)
    fields = dict(_of_each_kind(document))
    assert len(fields) > 100
    unnamed = {}
    for field, (path, value) in fields.items():
        forged = copy.deepcopy(document)
        *places, last = path
        place = forged
        for key in places:
            place = place[key]
        place[last] = PLAUSIBLE.get(field) or _altered(value)
        (folder / "r.json").write_text(json.dumps(forged), encoding="utf-8")
        status = cli.main(["verify", str(folder / "r.json"), "--quiet", *part])
        said = capsys.readouterr()
        name, message = ".".join(map(str, path)), said.out + said.err
        if field.startswith((*OF_THE_MACHINE, *OF_THE_MOMENT)):
            is_right = status == 0
        else:  # where the records lie is no matter of the run: it is said that they are not there
            is_right = status == 0 if field == "records.file" else status > 0
            is_right = is_right and (name in message or SAID.get(field, name) in message)
        if not is_right:
            unnamed[name] = message
    assert unnamed == {}
