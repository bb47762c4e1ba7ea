"""The result document: every field, gate, pricing again, and documents that are refused."""

import copy
import hashlib
import json
import math
import struct

import numpy as np
import pytest
import sentencepiece
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny import TEXT, sentencepiece_model, tiny_checkpoint

import lm_meter
from lm_meter import ConfigError, evaluate, load_result
from lm_meter.profiles import PROFILES
from lm_meter.report import result_table
from lm_meter.result import Result, price_result
from lm_meter.text import first_words, text_from_bytes


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("result")
    tiny_checkpoint(folder / "model.npz", kind="sentencepiece", tied=True, projection=8, dtype="float16")
    (folder / "text").write_text(TEXT, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def result(folder):
    return evaluate(folder / "model.npz", text=folder / "text", options=lm_meter.RunOptions(block=4, threads=1))


@pytest.fixture
def document(result):
    """A copy to be spoilt."""
    return copy.deepcopy(result.document)


FIELDS = {
    "": "schema partial checkpoint text nll_nats perplexity uncertainty operations_per_token histogram activations"
    " storage score speed online environment run chain",
    "activations": "with_state without_state by_region",
    "checkpoint": "path sha256 architecture",
    "text": "name sha256 word_tokens pieces scored",
    "perplexity": "word piece bits_per_byte",
    "operations_per_token": "total matrix_vector macs by_kind by_region",
    "storage": "parameters bits tensors",
    "score": "profile storage_ratio operations_ratio total meets_gate gate_margin gate_verdict",
    "speed": "tokens_per_second seconds compile_seconds weight_bytes_per_token stream_bytes_per_second"
    " bandwidth_fraction",
    "online": "block positions_rechecked bits_equal policy context",
    "run": "options seed sittings",
    "chain": "tokens_per_link links",
    "environment": "lm_meter python numpy numba cpu threads commit",
}


@pytest.mark.parametrize("section", FIELDS)
def test_documented_fields_are_there(section, document):
    found = document[section] if section else document

    assert set(FIELDS[section].split()) <= set(found)


def test_rows_and_tensors_have_their_fields(document):
    assert set(document["histogram"][0]) == {"region", "kind", "bits_a", "bits_b", "count"}
    assert set(document["storage"]["tensors"][0]) == {"name", "shape", "format", "width", "count", "tied_to", "role"}
    assert document["schema"] == "lm-meter/result/1"
    assert document["partial"] is False


def test_perplexities_follow_from_the_log_probabilities(result):
    nll = -math.fsum(result.log_probs)
    text = result["text"]

    assert result["nll_nats"] == nll
    assert result.perplexity == result["perplexity"]["word"] == math.exp(nll / text["word_tokens"])
    assert result["perplexity"]["piece"] == math.exp(nll / text["scored"])
    assert result["perplexity"]["bits_per_byte"] == nll / math.log(2) / text["bytes"]
    assert text["pieces"] == text["scored"] == result.log_probs.size


def test_a_result_is_the_mapping_of_its_document(result):
    assert "perplexity" in result
    assert "perplexities" not in result
    assert list(result) == list(result.document)
    assert dict(result) == result.document
    assert len(result) == len(result.document)
    assert result.get("nothing") is None
    assert {**result}["text"] == result["text"]


@pytest.mark.parametrize("options", [{"block": 1}, "block=1", 5, {}])
def test_options_of_another_kind(options, folder):
    with pytest.raises(ConfigError) as caught:
        lm_meter.evaluate(folder / "model.npz", text=folder / "text", options=options)
    assert str(caught.value) == (f"options is {options!r}; expected lm_meter.RunOptions, such as RunOptions(block=1)")


@pytest.mark.parametrize("files", [{"records": "r.npz"}, "r.npz", {}])
def test_files_of_another_kind(files, folder):
    with pytest.raises(ConfigError) as caught:
        lm_meter.evaluate(folder / "model.npz", text=folder / "text", files=files)
    assert str(caught.value) == (f"files is {files!r}; expected PassFiles, such as PassFiles(records='records.npz')")


def test_tokens_of_the_text(result):
    """TEXT has lines of 4, 0, 7 and 8 words, and four line ends."""
    assert result["text"]["word_tokens"] == 4 + 0 + 7 + 8 + 4


def test_operations_are_means_of_the_histogram(result):
    """At 16 and 32 bits every operation is 1 under the June rules."""
    operations, words = result["operations_per_token"], result["text"]["word_tokens"]
    count = sum(row["count"] for row in result["histogram"])

    assert operations["total"] == count / words
    assert operations["per_piece"] == count / result["text"]["scored"]
    assert math.isclose(sum(operations["by_kind"].values()), operations["total"], rel_tol=1e-12)
    assert math.isclose(sum(operations["by_region"].values()), operations["total"], rel_tol=1e-12)


def test_score_follows_from_parameters_and_operations(result):
    score = result["score"]

    assert score["storage_ratio"] == result["storage"]["parameters"] / 159_000_000
    assert math.isclose(score["operations_ratio"], result["operations_per_token"]["total"] / 318_000_000, rel_tol=1e-15)
    tables = result["tokenizer"]["bits"] / 16 / 159_000_000
    assert math.isclose(score["tokenizer_ratio"], tables, rel_tol=1e-15)
    without = score["storage_ratio"] + score["operations_ratio"]
    assert math.isclose(score["total_without_tokenizer"], without, rel_tol=1e-15)
    assert math.isclose(score["total"], without + tables, rel_tol=1e-15)
    assert score["profile"] == "micronet-2019-06"


# Of the WikiText-103 test set, as the corpus's page states it.
TEST_SHA256 = "56db52eb157b1ab5c89646eef70510c1eca6e12a3bfdb99f0d6b05b4eacb75b9"


@pytest.mark.parametrize(
    "changes",
    [{"sha256": "0" * 64}, {"whole": False}, {"replaced_by_unk": 1}, {"first_token": "skip"}],
    ids=["another text", "a part", "unknown words", "all but one"],
)
def test_the_gate_is_asked_of_the_whole_test_set_alone(changes, document):
    document["text"].update(sha256=TEST_SHA256, whole=True, replaced_by_unk=0)
    document["perplexity"]["word"] = 10.0
    assert price_result(Result(document), PROFILES["micronet-2019-06"])["score"]["meets_gate"] is True
    document["text"].update(changes)
    priced = price_result(Result(document), PROFILES["micronet-2019-06"])
    assert priced["score"]["meets_gate"] is None
    assert "not asked, not the whole test set as is" in result_table(priced)


@pytest.mark.parametrize(
    ("perplexity", "meets"), [(34.9999999, True), (35.0, True), (35.0000001, False), (35.04, False), (None, False)]
)
@pytest.mark.parametrize("profile", ["micronet-2019-06", "micronet-2019-final"])
def test_the_gate_is_never_rounded(perplexity, meets, profile, document):
    document["perplexity"]["word"] = perplexity
    document["text"].update(sha256=TEST_SHA256, whole=True, replaced_by_unk=0)

    assert price_result(Result(document), PROFILES[profile])["score"]["meets_gate"] is meets


@pytest.mark.parametrize(
    ("low", "high", "perplexity", "verdict"),
    [
        (33.0, 34.9, 34.0, "passes"),
        (33.0, 35.0, 34.0, "passes"),
        (34.9, 35.1, 34.999, "too close to call"),
        (34.9, 35.1, 35.001, "too close to call"),
        (35.1, 35.9, 35.5, "fails"),
        (34.0, None, 34.5, "too close to call"),
        (None, None, 34.5, None),
    ],
)
def test_what_the_interval_says_of_the_gate(low, high, perplexity, verdict, document):
    document["perplexity"]["word"] = perplexity
    document["text"].update(sha256=TEST_SHA256, whole=True, replaced_by_unk=0)
    document["uncertainty"] = {"level": 0.95, "method": "bootstrap-t", "block": "article", "blocks": 60}
    document["uncertainty"] |= {"resamples": 2000, "seed": 1, "word_low": low, "word_high": high}

    priced = price_result(Result(document), PROFILES["micronet-2019-06"])

    assert priced["score"]["meets_gate"] is (perplexity <= 35)
    assert priced["score"]["gate_margin"] == 35 - perplexity
    assert priced["score"]["gate_verdict"] == verdict
    assert (f"; by its interval: {verdict}" in result_table(priced)) == (verdict is not None)


def test_a_short_text_has_no_interval_and_asks_no_gate(document):
    document["uncertainty"] = None
    priced = price_result(Result(document), PROFILES["micronet-2019-06"])
    assert (priced["score"]["gate_margin"], priced["score"]["gate_verdict"]) == (None, None)
    assert "interval" not in result_table(priced)


@pytest.mark.parametrize("profile", PROFILES)
def test_pricing_again_equals_a_run_under_that_profile(profile, folder, result, tmp_path):
    result.save(tmp_path / "r.json")
    options = lm_meter.RunOptions(block=4, threads=1)
    run = evaluate(folder / "model.npz", text=folder / "text", profile=profile, options=options)

    again = price_result(load_result(tmp_path / "r.json"), PROFILES[profile])

    for section in set(run.document) - {"speed", "memory", "environment"}:
        assert again[section] == run[section]
    assert list(again.document) == list(run.document)


@pytest.mark.parametrize("profile", PROFILES)
def test_the_gate_is_asked_under_every_price_list(profile, document):
    """An entry chooses its price list: it must not choose the gate away."""
    document["perplexity"]["word"] = 255.9
    document["text"].update(sha256=TEST_SHA256, whole=True, replaced_by_unk=0)
    assert price_result(Result(document), PROFILES[profile])["score"]["meets_gate"] is False


@pytest.mark.parametrize("profile", ["flops", "macs", "bops"])
def test_a_general_view_has_no_score(profile, result):
    score = price_result(result, PROFILES[profile])["score"]

    assert (score["total"], score["storage_ratio"], score["operations_ratio"], score["meets_gate"]) == (None,) * 4


def test_pricing_leaves_the_result_as_it_was(result):
    before = result.to_json()
    price_result(result, PROFILES["bops"])

    assert result.to_json() == before


def test_a_saved_result_is_the_same_document(result, tmp_path):
    result.save(tmp_path / "r.json")

    assert load_result(tmp_path / "r.json").document == result.document
    assert load_result(tmp_path / "r.json").log_probs is None
    assert [path.name for path in tmp_path.iterdir()] == ["r.json"]


def test_a_perplexity_that_overflows_is_null(result):
    """exp(750) is no float, and JSON has no infinity."""
    from lm_meter.predicted_sections import _exp

    assert _exp(750.0) is None
    assert _exp(np.log(35)) == pytest.approx(35)


def test_an_overflow_is_reported_as_one(document):
    document["perplexity"] = dict.fromkeys(document["perplexity"])

    assert "overflow" in result_table(price_result(Result(document), PROFILES["flops"]))


def test_saving_where_it_cannot_be_written(result, tmp_path):
    path = tmp_path / "no folder" / "r.json"

    with pytest.raises(ConfigError) as caught:
        result.save(path)

    assert str(caught.value) == f"{path}: cannot be written (No such file or directory); choose another place"


def test_a_result_of_a_version_without_activations(document, tmp_path):
    del document["activations"]
    (tmp_path / "r.json").write_text(json.dumps(document), encoding="utf-8")
    loaded = load_result(tmp_path / "r.json")
    assert loaded["activations"] is None
    assert "alive" not in result_table(price_result(loaded, PROFILES["flops"]))


@pytest.fixture
def refusal(tmp_path):
    def refused(content):
        path = tmp_path / "r.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        with pytest.raises(ConfigError) as caught:
            load_result(path)
        message = str(caught.value)
        assert message.startswith(f"{path}: ")
        assert "\n" not in message
        return message.removeprefix(f"{path}: ")

    return refused


def test_missing(tmp_path):
    with pytest.raises(ConfigError) as caught:
        load_result(tmp_path / "r.json")

    expected = (
        f"{tmp_path / 'r.json'}: cannot be read (No such file or directory); expected a result written by --output"
    )
    assert str(caught.value) == expected


@pytest.mark.parametrize(
    "content", ["", "no JSON", "{", "[" * 200_000, '{"schema": NaN}', '{"text": "\\ud800"}', '{"a": 1e999}'], ids=len
)
def test_not_json(content, refusal):
    message = refusal(content)

    assert message.startswith("is not JSON (")
    assert message.endswith("; expected a result written by --output")


@pytest.mark.parametrize(
    ("content", "found"),
    [("{}", None), ("[]", None), ("3", None), ('{"schema": "lm-meter/result/2"}', "lm-meter/result/2")],
)
def test_another_schema(content, found, refusal):
    expected = f"schema is {found!r}; expected 'lm-meter/result/1', written by lm-meter eval --output"
    assert refusal(content) == expected


@pytest.mark.parametrize("section", ["histogram", "regions", "storage", "perplexity", "text", "speed", "environment"])
def test_a_missing_section(section, document, refusal):
    del document[section]
    assert refusal(document) == f"has no {section}; write it again with eval --output"


def test_a_missing_field(document, refusal):
    del document["perplexity"]["word"]
    assert refusal(document) == "has no perplexity.word; write it again with eval --output"


@pytest.mark.parametrize("value", ["6", -1, 1.5, None, True, 2**63, [1]])
def test_a_count_that_is_none(value, document, refusal):
    document["histogram"][2]["count"] = value
    assert refusal(document) == f"histogram.2.count is {value!r}; write it again with eval --output"


@pytest.mark.parametrize("value", ["fast", None, 10**400])
def test_a_figure_that_is_none(value, document, refusal):
    document["speed"]["seconds"] = value
    assert refusal(document) == f"speed.seconds is {value!r:.40}; write it again with eval --output"


def test_a_histogram_of_another_model(document, refusal):
    document["histogram"][0]["region"] = "attention"
    assert refusal(document) == "contradicts itself (KeyError: 'attention'); write it again with eval --output"


def test_a_result_over_nothing(document, refusal):
    document["text"] |= {"scored": 0, "pieces": 0, "word_tokens": 0}
    document["perplexity"].update(word=None, piece=None)
    document["chain"] = None
    assert refusal(document).startswith("text.scored is 0; expected one of 1, 2, 3, ")


def _set(document, path, value):
    *places, last = path.split(".")
    for key in places:
        document = document[int(key) if isinstance(document, list) else key]
    document[int(last) if isinstance(document, list) else last] = value


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("storage.tensors.0.count", 1),
        ("storage.bits", 1),
        ("text.pieces", 0),
        ("perplexity.word", 1.0),
        ("perplexity.piece", None),
        ("perplexity.bits_per_byte", 0.5),
        ("speed.bandwidth_fraction", 2.0),
        ("run.options.first_token", "skip"),
        ("run.options.block", 63),
        ("chain.links.0", "0" * 64),
    ],
)
def test_a_document_that_contradicts_itself(path, value, document, refusal):
    _set(document, path, value)
    message = refusal(document)
    assert message.startswith(path)
    assert f" is {value!r:.40}, but the rest of the document gives " in message
    assert message.endswith("; write it again with eval --output")


@pytest.mark.parametrize(
    ("path", "value"),
    [("checkpoint.sha256", "0" * 64), ("text.sha256", "1" * 64), ("run.options.limit", 7), ("online.context", 9)],
)
def test_a_run_that_is_not_the_chains(path, value, document, refusal):
    _set(document, path, value)
    message = refusal(document)
    assert message.startswith("chain.links.0, the hash of checkpoint.sha256, text.sha256, ")
    assert f" is '{document['chain']['links'][0][:38]}" in message


def test_links_that_are_missing_or_no_hashes(document, refusal):
    links = document["chain"]["links"]
    links[-1] = "g" * 64
    assert refusal(document).startswith(f"chain.links.{len(links) - 1} is 'ggg")
    assert "'; expected 64 hexadecimal digits; write it again" in refusal(document)
    links.pop()
    n = len(links)
    assert refusal(document).startswith(f"number of chain.links is {n}, but the rest of the document gives {n + 1}")


def test_the_chain_is_that_of_the_readme(folder):
    model, text = folder / "model.npz", folder / "text"
    result = lm_meter.evaluate(model, text=text, options=lm_meter.RunOptions(limit=9))
    model_of_pieces = sentencepiece.SentencePieceProcessor(model_proto=sentencepiece_model())
    end = model_of_pieces.piece_to_id("<eos>")
    first_line, cut = (model_of_pieces.encode(line) for line in ("= the cat =", "the cat sat"))
    numbers = [*first_line, end, end, *cut]  # 5, 1 and 3 word tokens
    identity = {
        "checkpoint": hashlib.sha256(model.read_bytes()).hexdigest(),
        "context": None,
        "continuous_cache": None,
        "first_token": "score",
        "limit": 9,
        "oov": "error",
        "policy": "state",
        "text": hashlib.sha256(text.read_bytes()).hexdigest(),
        "tokens": hashlib.sha256(struct.pack(f"<{len(numbers)}i", *numbers)).hexdigest(),
    }
    first = hashlib.sha256(json.dumps(identity, separators=(",", ":")).encode()).digest()
    second = hashlib.sha256(first + b"".join(struct.pack("<d", value) for value in result.log_probs)).digest()
    assert result["chain"] == {"tokens_per_link": 1024, "links": [first.hex(), second.hex()]}


def test_a_partial_run_is_not_a_whole_one(document, refusal):
    document["partial"], document["text"]["whole"] = True, True
    assert refusal(document) == "text.whole is True; expected one of False; write it again with eval --output"


def test_speeds_of_hundreds_of_digits(document, refusal):
    document["speed"] |= {"weight_bytes_per_token": 10**300, "tokens_per_second": 10**300, "stream_bytes_per_second": 1}
    assert "speed.bandwidth_fraction is" in refusal(document)


@pytest.mark.parametrize("name", ["histogram", "regions"])
def test_entries_that_stand_there_twice(name, document, refusal):
    entries = document[name]
    n = len(entries)
    entries.append(entries[0])
    assert refusal(document).startswith(f"number of {name} is {n + 1}, but the rest of the document gives {n}")


@pytest.mark.parametrize("path", ["nll_nats", "speed.seconds", "text.bytes"])
def test_negative_numbers(path, document, refusal):
    _set(document, path, -5)
    assert refusal(document) == f"{path} is -5; write it again with eval --output"


def test_a_shape_without_end(document, refusal):
    document["storage"]["tensors"][0]["shape"] = [2**63 - 1] * 300
    assert "storage.tensors.0.count is" in refusal(document)


@pytest.mark.parametrize(
    ("path", "value", "allowed"),
    [
        ("histogram.0.kind", "Multiply", "multiply, add, divide"),
        ("histogram.0.bits_a", 4096, "1, 2, 3"),
        ("histogram.1.bits_b", 65, "0, 1, 2"),
        ("storage.tensors.0.width", 0, "1, 2, 3"),
        ("storage.tensors.0.role", "shape", "values, scales"),
        ("regions.0.role", "x", "lookup, matrix_vector"),
        ("text.first_token", "x", "score, skip"),
        ("online.block", 0, "1, 2, 3"),
        ("environment.threads", 257, "1, 2, 3"),
    ],
)
def test_a_value_that_does_not_exist(path, value, allowed, document, refusal):
    _set(document, path, value)
    assert refusal(document).startswith(f"{path} is {value!r}; expected one of {allowed}")


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("with_state", "elements"), 1, "activations.with_state.elements is 1, but the rest of the document gives "),
        (("without_state", "bits"), 7, "activations.without_state.bits is 7, but the rest of the document gives "),
        (("with_state", "bits_in"), "embedding", "activations.with_state.bits_in is "),
        (("by_region", 0, "region"), "lstm.7", "activations.by_region.0.region is 'lstm.7'; expected one of "),
        (("by_region", 0, "with_state"), 3, "activations.by_region.0.with_state is 3; write it again"),
        (("by_region", 1, "region"), "embedding", "number of activations.by_region is "),
        (("without_state",), None, "activations.without_state is None; write it again"),
    ],
)
def test_activations_that_contradict_each_other(place, value, message, document, refusal):
    entry = document["activations"]
    for key in place[:-1]:
        entry = entry[key]
    entry[place[-1]] = value
    assert refusal(document).startswith(message)


def test_numpy_numbers_as_options_can_be_saved(folder, tmp_path):
    options = lm_meter.RunOptions(block=np.int32(4), threads=np.int64(1), limit=np.uint8(9))
    result = evaluate(folder / "model.npz", text=folder / "text", options=options)
    result.save(tmp_path / "r.json")
    assert load_result(tmp_path / "r.json")["online"]["block"] == 4


@pytest.mark.parametrize(
    "option", [{"block": 1.5}, {"block": "7"}, {"limit": 1.5}, {"threads": True}, {"context": "9"}]
)
def test_options_of_another_type(option):
    ((name, value),) = option.items()
    with pytest.raises(ConfigError, match=f"^{name} is {value!r}; expected 1 "):
        lm_meter.RunOptions(**option)


@pytest.mark.parametrize("option", [{"policy": 3}, {"continuous_cache": [5, 0.3, 0.1]}])
def test_options_that_are_no_strings(option):
    ((name, value),) = option.items()
    with pytest.raises(ConfigError) as caught:
        lm_meter.RunOptions(**option)
    assert str(caught.value) == f"{name} is {value!r}; expected a string"


def test_a_run_over_the_whole_file_is_marked_so(folder):
    def whole(**options):
        return evaluate(folder / "model.npz", text=folder / "text", options=lm_meter.RunOptions(**options))["text"][
            "whole"
        ]

    assert whole()
    assert whole(first_token="skip")
    assert not whole(limit=5)


def test_without_its_last_end_of_line_a_text_is_not_whole():
    text = text_from_bytes(b"a b", "text")  # a, b and the end of the line
    assert text.is_whole()
    assert first_words(text, 3).is_whole()
    assert not first_words(text, 2).is_whole()


def test_replaced_words_are_those_of_the_scored_part(tmp_path):
    words = ("<eos>", "<unk>", "a")
    model = tiny_checkpoint(tmp_path / "model.npz", words=words)
    (tmp_path / "text").write_text("zebra a zebra\n", encoding="utf-8")

    def replaced(**options):
        run = evaluate(model, text=tmp_path / "text", options=lm_meter.RunOptions(oov="unk", **options))
        return run["text"]["replaced_by_unk"]

    assert replaced() == 2
    assert replaced(first_token="skip") == 1  # the first is context only
    assert replaced(limit=2) == 1


VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just([]) | st.just({})


@settings(
    max_examples=200, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data(), value=VALUES)
def test_a_changed_document_is_refused_or_reported(data, value, result, tmp_path):
    """Any field may be anything; loading, pricing and printing then work, or loading says what is wrong."""
    spoilt = copy.deepcopy(result.document)
    place = spoilt
    while True:
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        if not isinstance(place[key], dict | list) or not place[key] or data.draw(st.booleans()):
            break
        place = place[key]
    place[key] = value
    (tmp_path / "r.json").write_text(json.dumps(spoilt))
    try:
        loaded = load_result(tmp_path / "r.json")
    except ConfigError:
        return
    for profile in PROFILES.values():
        priced = price_result(loaded, profile)
        result_table(priced)
        priced.to_json()


def test_log_probabilities_are_read_only(tmp_path):
    """In a file or in memory: what a caller writes must not change with the length of the text."""
    result = evaluate(tiny_checkpoint(tmp_path / "m.npz"), text=text_from_bytes(TEXT.encode(), "t"))
    with pytest.raises(ValueError, match="read-only"):
        result.log_probs[0] = 1.0
