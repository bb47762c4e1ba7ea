"""Multiply-accumulates, as other counters count them: of each matrix product rows x columns, and nothing else."""

import copy
import json

import pytest
from test_recurrent import CONFIGURATIONS
from test_transformer import WORDS, _run, _tokens
from tiny import TEXT, integer_parts, tiny_checkpoint, tiny_parts
from tiny_transformer import KINDS, transformer_config, transformer_parts

import lm_meter
from lm_meter import calculation
from lm_meter.calculation import macs_of
from lm_meter.cli import main
from lm_meter.context import Context
from lm_meter.defaults import default_checkpoint
from lm_meter.histogram import rows_of
from lm_meter.inspection import count_operations
from lm_meter.profiles import PROFILES
from lm_meter.report import result_table
from lm_meter.result import price_result

VOCABULARY = len(WORDS)


def _seen(attention, position, layer):
    """Positions that a query sees, from the pattern's own words."""
    pattern, window = attention.get("pattern"), attention.get("window", 1 << 30)
    pattern = (pattern[layer] if isinstance(pattern, list) else pattern) or {"kind": "dense"}

    def sees(j):
        far = position - j
        if pattern["kind"] == "local_global" and j < pattern["global"]:
            return True
        if far > window:
            return False
        return {
            "dense": lambda: True,
            "strided": lambda: far <= pattern["local"] or far % pattern["stride"] == 0,
            "fixed": lambda: (
                position // pattern["stride"] == j // pattern["stride"]
                or j % pattern["stride"] >= pattern["stride"] - pattern["summary"]
            ),
            "local_global": lambda: far <= pattern["local"],
        }[pattern["kind"]]()

    return sum(map(sees, range(position + 1)))


def _ends(config, tokens, targets):
    """Of looking up tokens and of predicting targets: projections of bins, clusters, logits."""
    sizes, adaptive = config["dimensions"], config.get("adaptive", {})
    width = sizes.get("width") or sizes["embedding"]
    output = sizes.get("width") or sizes["projection"] or sizes["hidden"][-1]
    total = 0
    if sizes.get("projection"):
        total += sizes["hidden"][-1] * sizes["projection"] * len(targets)
    if embedding := adaptive.get("embedding"):
        for token in tokens:
            home = sum(token >= cutoff for cutoff in embedding["cutoffs"])
            if home or embedding["project_first"]:
                total += width * embedding["widths"][home]
    softmax = adaptive.get("softmax")
    if not softmax:
        return total + output * VOCABULARY * len(targets)
    edges = [0, *softmax["cutoffs"], VOCABULARY]
    for target in targets:
        home = sum(target >= cutoff for cutoff in softmax["cutoffs"])
        for number, bin_width in enumerate(softmax["widths"]):
            if number not in (0, home) and softmax["charged"] == "needed":
                continue
            if number or softmax["project_first"]:
                total += output * bin_width
            rows = edges[number + 1] - edges[number] + (len(softmax["cutoffs"]) if number == 0 else 0)
            total += rows * bin_width
    return total


def _transformer(config, context, tokens):
    """Each token predicted from the last ``context`` ones, run afresh; of the last layer the last token is needed."""
    sizes, attention, feed = config["dimensions"], config["attention"], config["feed_forward"]
    width, heads, shared, head = (sizes[n] for n in ("width", "heads", "key_value_heads", "head_width"))
    groups, feed_groups, experts = attention.get("groups", {}), feed.get("groups", {}), feed.get("experts")
    relative = config["positions"]["kind"] in ("relative", "transformer_xl")
    total, entered = 0, []
    for at in range(len(tokens) - 1):
        length = min(at + 1, context)
        entered += tokens[at + 1 - length : at + 1]
        for layer in range(sizes["layers"]):
            asked = range(length - 1, length) if layer == sizes["layers"] - 1 else range(length)
            total += length * width * head * shared * 1 // groups.get("key", 1)
            total += length * width * head * shared * 1 // groups.get("value", 1)
            each = 2 * width * head * heads // groups.get("query", 1)
            if "output" in groups or "query" in groups:
                each = width * head * heads // groups.get("query", 1) + width * head * heads // groups.get("output", 1)
            part = sum(
                width * sizes["feed_forward"] // feed_groups.get(name, 1)
                for name in (("gate", "input", "output") if feed["gated"] else ("input", "output"))
            )
            each += part * experts["used"] + width * experts["count"] if experts else part
            total += len(asked) * each
            seen = sum(_seen(attention, position, layer) for position in asked)
            total += seen * heads * head * (3 if relative else 2)
    if config["positions"]["kind"] == "transformer_xl":
        farthest = min(attention.get("window", context - 1), context - 1)
        total += (farthest + 1) * width * heads * head * sizes["layers"]
    if cache := config.get("continuous_cache"):
        total += sum(min(at, cache["size"]) for at in range(len(tokens) - 1)) * width
    return total + _ends(config, entered, tokens[1:])


def _macs(opened, context, tally):
    plan, network = opened.architecture.described(opened, context)
    return macs_of(plan, network, rows_of(tally, plan.regions))


@pytest.mark.parametrize("kind", KINDS)
def test_of_transformers_by_hand(kind, tmp_path):
    lm_meter.write_checkpoint(tmp_path / "model.npz", *transformer_parts(kind, WORDS))
    opened, context, tokens = lm_meter.Checkpoint(tmp_path / "model.npz"), Context("recompute", 5), _tokens(9)
    _, tally, _ = _run(opened, context, tokens[:-1], tokens[1:])
    assert _macs(opened, context, tally) == _transformer(transformer_config(kind, WORDS)[0], 5, tokens.tolist())


def _recurrent(config, tokens):
    """Each token enters, and the next one is predicted."""
    sizes, total = config["dimensions"], 0
    inputs = [sizes["embedding"], *sizes["hidden"]]
    for layer, hidden in enumerate(sizes["hidden"]):
        total += {
            "lstm": lambda n, h: 4 * h * (n + h),
            "gru": lambda n, h: 3 * h * (n + h),
            "qrnn": lambda n, h, layer=layer: (3 if config["output_gate"] else 2) * h * n * sizes["window"][layer],
        }[config["architecture"]](inputs[layer], hidden)
    total *= len(tokens) - 1
    if cache := config.get("continuous_cache"):
        total += sum(min(at, cache["size"]) for at in range(len(tokens) - 1)) * (sizes["projection"] or inputs[-1])
    return total + _ends(config, tokens[:-1], tokens[1:])


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_of_recurrent_models_by_hand(name, tmp_path):
    config, arrays = tiny_parts(words=WORDS, **CONFIGURATIONS[name])
    lm_meter.write_checkpoint(tmp_path / "model.npz", config, arrays)
    opened, tokens = lm_meter.Checkpoint(tmp_path / "model.npz"), _tokens(9)
    _, tally, _ = _run(opened, None, tokens[:-1], tokens[1:])
    assert _macs(opened, None, tally) == _recurrent(config, tokens.tolist())


def test_of_a_step_of_the_shipped_transformer(capsys):
    """A full context of 32 pieces: of the last of three layers one query alone is asked."""
    width, feed, vocabulary, length = 96, 192, 6144, 32
    keys, rest = 2 * width * width, 2 * width * width + 3 * width * feed
    seen = 2 * (length * (length + 1) // 2) + length
    macs = 3 * length * keys + (2 * length + 1) * rest + 2 * seen * width + width * vocabulary
    shipped = default_checkpoint().with_name("transformer-small.npz")
    arguments = ["count", "--checkpoint", str(shipped), "--policy", "recompute"]
    assert main(arguments) == 0
    assert f"multiply-accumulates of all matrix products (MACs): {macs:,}\n" in capsys.readouterr().out
    assert main([*arguments, "--format", "json", "--profile", "bops"]) == 0
    assert json.loads(capsys.readouterr().out)["operations_per_piece"]["macs"] == macs


def test_pruned_weights_are_not_multiplied(tmp_path):
    formats = {"softmax.weight": {"format": "int8", "activations": 8, "block": (1, 1)}}
    config, arrays = integer_parts(formats)
    lm_meter.write_checkpoint(tmp_path / "model.npz", config, arrays)
    counted = count_operations(lm_meter.Checkpoint(tmp_path / "model.npz"), PROFILES["flops"])
    assert counted["operations_per_piece"]["macs"] == 4 * 12 * (8 + 12) + arrays["softmax.weight"].size


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("macs")
    tiny_checkpoint(folder / "model.npz", kind="sentencepiece")
    (folder / "text").write_text(TEXT, encoding="utf-8")
    return folder, lm_meter.evaluate(folder / "model.npz", text=folder / "text")


def test_a_result_has_them_per_word_token_under_every_price_list(run):
    folder, result = run
    vocabulary = lm_meter.Checkpoint(folder / "model.npz").model_config.vocabulary
    text, macs = result["text"], result["operations_per_token"]["macs"]
    assert macs == (4 * 12 * (8 + 12) + 12 * vocabulary) * text["scored"] / text["word_tokens"]
    for profile in PROFILES.values():
        assert price_result(result, profile)["operations_per_token"]["macs"] == macs
    assert "  multiply-accumulates of all matrix products (MACs): " in result_table(result)


def test_an_older_result_has_none_and_is_verified_as_it_is(run, tmp_path):
    folder, result = run
    document = copy.deepcopy(result.document)
    del document["operations_per_token"]["macs"]
    (tmp_path / "old.json").write_text(json.dumps(document))
    old = lm_meter.load_result(tmp_path / "old.json")
    assert old["operations_per_token"]["macs"] is None
    assert "(MACs)" not in result_table(old)
    beside = ["--checkpoint", str(folder / "model.npz"), "--text", str(folder / "text"), "--quiet"]
    assert main(["verify", str(tmp_path / "old.json"), *beside]) == 0
    assert main(["verify", str(tmp_path / "old.json"), "--fraction", "0.5", *beside]) == 0


def test_an_altered_figure_is_named(run, tmp_path, capsys):
    folder, result = run
    document = copy.deepcopy(result.document)
    document["operations_per_token"]["macs"] += 1
    (tmp_path / "altered.json").write_text(json.dumps(document))
    beside = ["--checkpoint", str(folder / "model.npz"), "--text", str(folder / "text"), "--quiet"]
    for part in ([], ["--fraction", "0.5"]):
        assert main(["verify", str(tmp_path / "altered.json"), *part, *beside]) == 1
        assert "operations_per_token.macs is " in capsys.readouterr().out


def test_a_figure_that_is_no_number_is_refused(run, tmp_path):
    _, result = run
    document = copy.deepcopy(result.document)
    document["operations_per_token"]["macs"] = "many"
    (tmp_path / "altered.json").write_text(json.dumps(document))
    with pytest.raises(lm_meter.ConfigError) as caught:
        lm_meter.load_result(tmp_path / "altered.json")
    assert str(caught.value) == (
        f"{tmp_path / 'altered.json'}: operations_per_token.macs is 'many'; write it again with eval --output"
    )


def test_what_the_histogram_does_not_determine_is_none(run, monkeypatch):
    folder, _ = run
    opened = lm_meter.Checkpoint(folder / "model.npz")
    monkeypatch.setattr(calculation, "calculate", lambda *_: calculation.Calculation({"T": 5, "P": None}, []))
    assert macs_of(*opened.architecture.described(opened), []) is None
