"""Foreign entries that follow the protocol: perplexity as computed independently, and no costs but claims."""

import copy
import json
import math
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
from entry_programs import TEXT, program, vocabulary, weights_after
from tiny import WORDS, sentencepiece_model, tiny_checkpoint

import lm_meter
from lm_meter import ConfigError, ForeignEntry, RunOptions, TextError, cli, evaluate, evaluate_entry, load_result
from lm_meter.entries import bigram
from lm_meter.hash_chain import HashChain
from lm_meter.pass_files import PassFiles
from lm_meter.profiles import PROFILES
from lm_meter.ranking import rank, ranking_table
from lm_meter.records import read_records
from lm_meter.report import result_table
from lm_meter.result import price_result
from lm_meter.run_identity import document_identity, identity_bytes
from lm_meter.text import text_from_bytes

JUNE = "micronet-2019-06"
CLAIMS = (
    "answer['name'] = 'the sevens'\n"
    f"answer['claims'] = {{'profile': {JUNE!r}, 'parameters': 159e6, 'operations': 31800000}}"
)


@pytest.fixture
def text(tmp_path):
    file = tmp_path / "book.txt"
    file.write_text(TEXT, encoding="utf-8")
    return file


def tokens_of(content):
    """Numbers of words and line ends, independently of the tokenizers."""
    return [WORDS.index(word) for line in content.splitlines() for word in [*line.split(), "<eos>"]]


def reference_log_probs(tokens, before):
    """What the test programs predict for each token, from the one before it."""
    found = []
    for token in tokens:
        weights = weights_after(before)
        found.append(math.log(weights[token] / sum(weights)))
        before = token
    return found


def test_perplexity_is_that_of_an_independent_computation(tmp_path, text):
    result = evaluate_entry(ForeignEntry(program(tmp_path), vocabulary(tmp_path)), text=text)

    reference = reference_log_probs(tokens_of(TEXT), WORDS.index("<eos>"))
    np.testing.assert_allclose(result.log_probs, reference, rtol=1e-14)
    assert result.perplexity == pytest.approx(math.exp(-sum(reference) / len(reference)), rel=1e-14)
    assert (result["text"]["word_tokens"], result["text"]["scored"], result["text"]["bytes"]) == (17, 17, len(TEXT))
    assert result["text"]["whole"]


def test_skipped_first_token_is_the_first_that_is_sent(tmp_path, text):
    entry = ForeignEntry(program(tmp_path), vocabulary(tmp_path))
    options = RunOptions(first_token="skip", limit=11)
    result = evaluate_entry(entry, text=text, options=options)

    tokens = tokens_of(TEXT)[:11]
    np.testing.assert_allclose(result.log_probs, reference_log_probs(tokens[1:], tokens[0]), rtol=1e-14)
    assert result["text"]["pieces"] == 11
    assert result["run"]["options"]["limit"] == 11


FORMS = {
    "float32 probabilities": ("answer['dtype'] = 'float32'", 1e-7),
    "float64 log-probabilities": ("answer['values'] = 'log-probabilities'", 1e-14),
    "float32 log-probabilities": ("answer.update(values='log-probabilities', dtype='float32')", 1e-7),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_distributions(form, tmp_path, text):
    answer, tolerance = FORMS[form]
    logarithm = "import math\nplain = give\ndef give(values): plain([math.log(value) for value in values])\n"
    body = logarithm if "log-" in form else "pass"
    result = evaluate_entry(ForeignEntry(program(tmp_path, body, answer, at=0), vocabulary(tmp_path)), text=text)

    reference = reference_log_probs(tokens_of(TEXT), WORDS.index("<eos>"))
    np.testing.assert_allclose(result.log_probs, reference, rtol=tolerance)
    assert f"{result['entry']['dtype']} {result['entry']['values']}" == form
    assert abs(result["entry"]["sums"]["low"] - 1) < 1e-6


def test_certainty_that_is_rounded_up_counts_as_one(tmp_path, text):
    body = f"order = {tokens_of(TEXT)}\ncount = iter(order)\nplain = give\n"
    body += "def give(values): plain([1.00009 * (word == one) for one in [next(count)] for word in range(size)])\n"
    result = evaluate_entry(ForeignEntry(program(tmp_path, body, at=0), vocabulary(tmp_path)), text=text)

    assert result.perplexity == 1.0
    assert result["entry"]["sums"]["high"] == pytest.approx(1.00009)


@pytest.mark.parametrize("form", ["probabilities", "log-probabilities"])
@pytest.mark.parametrize("scale", [1.00009, 0.99995])
def test_nothing_is_gained_by_sums_above_one(form, scale, tmp_path, text):
    """They are divided out, before anything is made of them; sums below 1 stay as they are, which costs."""
    number = "value" if form == "probabilities" else "math.log(value)"
    body = "import math\nplain = give\n"
    body += f"def give(values): plain([{number} for value in [{scale} * value for value in values]])\n"
    entry = ForeignEntry(program(tmp_path, body, f"answer['values'] = {form!r}", at=0), vocabulary(tmp_path))
    result = evaluate_entry(entry, text=text, files=PassFiles(records=tmp_path / "records.npz"))

    honest = np.array(reference_log_probs(tokens_of(TEXT), WORDS.index("<eos>")))
    reference = honest + min(math.log(scale), 0)
    np.testing.assert_allclose(result.log_probs, reference, rtol=1e-13)
    assert result["nll_nats"] == pytest.approx(-reference.sum(), rel=1e-13)
    assert result["entry"]["sums"]["high"] == pytest.approx(scale, rel=1e-13)
    assert read_records(tmp_path / "records.npz").log_prob.tolist() == result.log_probs.tolist()
    chain = HashChain(identity_bytes(document_identity(result.document)))
    chain.add(result.log_probs)
    assert result["chain"]["links"] == chain.links()
    assert f" to {scale:.7f}; what is above 1 is divided out\n" in result_table(result)


def test_the_protocols_page_says_what_a_second_run_may_know():
    page = " ".join((Path(bigram.__file__).parent / "README.md").read_text(encoding="utf-8").split())
    assert "A program that writes down what it is sent knows the text when it is run again" in page
    assert "`verify` is a second run itself" in page
    assert "Nothing is normalised" not in page


def test_a_program_that_writes_down_what_it_is_sent_is_perfect_at_its_second_run(tmp_path, text):
    """Why that page says so: the protocol alone cannot keep a program from it."""
    body = f"""
import pathlib
notes, plain = pathlib.Path({str(tmp_path / "notes")!r}), give
known = iter([int(token) for token in notes.read_text().split()[1:]] if notes.exists() else [])
written = notes.open("w")
def give(values):
    written.write(line.decode())
    written.flush()
    told = next(known, None)
    plain(values if told is None else [float(word == told) for word in range(size)])
"""
    entry = ForeignEntry(program(tmp_path, body.strip(), at=0), vocabulary(tmp_path))
    first, second = (evaluate_entry(entry, text=text) for _ in range(2))
    assert first.perplexity > 2
    assert (second.log_probs[:-1] == 0).all()  # the last token was never sent


WRAPPED = """
import json, sys
import lm_meter
checkpoint, dtype = sys.argv[1:]
receive, send = sys.stdin.buffer, sys.stdout.buffer
hello = json.loads(receive.readline())
model = lm_meter.Model(checkpoint, threads=1)
assert model.vocabulary == hello["size"] == len(hello["vocabulary"])
assert [model.tokenizer.token(n) for n in range(model.vocabulary)] == hello["vocabulary"]
send.write(json.dumps({"protocol": hello["protocol"], "values": "log-probabilities", "dtype": dtype}).encode() + b"\\n")
send.flush()
for number, line in enumerate(receive):
    if number or hello["start"] is None:
        model.advance(int(line))  # the start token has entered when the model was made
    else:
        assert int(line) == hello["start"]
    send.write(model.log_probs().astype(dtype).tobytes())
    send.flush()
"""


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_model_of_ours_as_a_program_predicts_what_evaluate_does(dtype, tmp_path, text):
    checkpoint = tiny_checkpoint(tmp_path / "model.npz", kind="sentencepiece", projection=8)
    (tmp_path / "wrapped.py").write_text(WRAPPED, encoding="utf-8")
    command = shlex.join([sys.executable, str(tmp_path / "wrapped.py"), str(checkpoint), dtype])
    # The program compiles its kernels before it answers: half a minute where none are kept, more beside other work.
    result = evaluate_entry(ForeignEntry(command, checkpoint, timeout=600), text=text)
    reference = evaluate(checkpoint, text=text)

    assert result["text"] == reference["text"]
    # Our softmax sums to 1 but for the rounding of float32, and what that is above 1 is divided out.
    rounding, most = 2**-24 * (dtype == "float32"), math.log(result["entry"]["sums"]["high"])
    lost = reference.log_probs - result.log_probs
    assert 0 < most < 1e-6
    assert (lost >= rounding * reference.log_probs).all()
    assert (lost <= most - rounding * reference.log_probs + 1e-14).all()
    assert result.perplexity == pytest.approx(reference.perplexity, rel=2e-7)
    assert (result["uncertainty"] == reference["uncertainty"]) or dtype == "float32"


def test_shipped_example_is_a_bigram_model(tmp_path, text):
    command = shlex.join([sys.executable, bigram.__file__])
    result = evaluate_entry(ForeignEntry(command, vocabulary(tmp_path)), text=text)

    size, before, nats = len(WORDS), WORDS.index("<eos>"), 0.0
    seen, pairs = [before], []
    for token in tokens_of(TEXT):
        unigram = (seen.count(token) + 0.1) / (len(seen) + 0.1 * size)
        follow = [second for first, second in pairs if first == before]
        nats -= math.log((follow.count(token) + 2 * unigram) / (len(follow) + 2))
        pairs.append((before, token))
        seen.append(token)
        before = token
    assert result["nll_nats"] == pytest.approx(nats, rel=1e-12)
    assert result["entry"]["claims"] == {"profile": JUNE, "parameters": 0, "operations": 5 * size}


def test_example_is_what_its_page_says():
    source = Path(bigram.__file__).read_text(encoding="utf-8")
    code = [line for line in source.partition("import json")[2].splitlines() if line.strip()]
    assert len(code) <= 40
    page = (Path(bigram.__file__).parent / "README.md").read_text(encoding="utf-8")
    for word in (
        bigram.main.__module__.rpartition(".")[2],
        "lm-meter/entry/1",
        "log-probabilities",
        "float64",
        "claims",
    ):
        assert word in page


def test_command_of_the_readme_runs_the_example(capsys):
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    (line,) = [line for line in readme.splitlines() if "lm_meter.entries.bigram'" in line]
    program, *arguments = shlex.split(line.replace(".venv/bin/python", sys.executable))
    assert program == ".venv/bin/lm-meter"
    assert cli.main([*arguments, "--limit", "30", "--quiet"]) == 0
    assert "own claims (micronet-2019-06)" in capsys.readouterr().out


@pytest.mark.parametrize("zero", ["-0.0", "0.0", "-0"])
def test_a_claim_of_zero_has_no_sign(zero, tmp_path, text):
    answer = f"answer['claims'] = {{'profile': {JUNE!r}, 'parameters': {zero}, 'operations': {zero}}}"
    result = evaluate_entry(ForeignEntry(program(tmp_path, answer=answer), vocabulary(tmp_path)), text=text)
    assert [str(result["entry"]["claims"][key]).strip(".0") for key in ("parameters", "operations")] == ["", ""]
    result.document["entry"]["claims"]["parameters"] = -0.0  # of a file that was changed
    assert "parameters                 0 (claimed)" in result_table(result)
    assert " -0" not in result_table(result)


def test_words_that_are_unknown_are_not_in_the_vocabulary_of_the_entry(tmp_path):
    entry = ForeignEntry(program(tmp_path), vocabulary(tmp_path))
    with pytest.raises(TextError, match=r"line 1: word 'zebra' is not in the entry's vocabulary; --oov unk replaces"):
        evaluate_entry(entry, text=text_from_bytes(b"the zebra\n", "t"))
    (tmp_path / "few.txt").write_text("<eos>\nthe\n")
    with pytest.raises(ConfigError, match="oov is unk, but the entry's vocabulary has no unknown token"):
        evaluate_entry(
            ForeignEntry(program(tmp_path), tmp_path / "few.txt"),
            text=text_from_bytes(b"the\n", "t"),
            options=RunOptions(oov="unk"),
        )


def test_a_state_is_refused(tmp_path, text):
    from lm_meter.pass_files import PassFiles

    with pytest.raises(ConfigError, match="but what a foreign entry's program holds cannot be saved from here; expec"):
        evaluate_entry(program(tmp_path), text=text, files=PassFiles(state=tmp_path / "s"))


@pytest.fixture
def claiming(tmp_path, text):
    return evaluate_entry(ForeignEntry(program(tmp_path, answer=CLAIMS), vocabulary(tmp_path)), text=text)


def test_costs_are_null_and_claims_are_claims(claiming):
    assert claiming["entry"]["unmetered"] is True
    assert claiming["entry"]["name"] == "the sevens"
    assert claiming["entry"]["claims"] == {"profile": JUNE, "parameters": 159e6, "operations": 31800000}
    assert claiming["operations_per_token"]["total"] is None
    assert claiming["storage"] == {"bits": None, "tensors": [], "parameters": None}
    assert claiming["activations"] is None
    score = claiming["score"]
    assert (score["total"], score["storage_ratio"], score["operations_ratio"]) == (None, None, None)
    assert score["claimed"] == {"storage_ratio": 1.0, "operations_ratio": 0.1, "total": 1.1}
    final = price_result(claiming, PROFILES["micronet-2019-final"])
    assert final["score"]["claimed"] is None


def test_claims_of_pieces_are_priced_per_word(tmp_path):
    (tmp_path / "pieces.model").write_bytes(sentencepiece_model())
    entry = ForeignEntry(program(tmp_path, answer=CLAIMS), tmp_path / "pieces.model")
    result = evaluate_entry(entry, text=text_from_bytes(b"the catsat dogran matmat .\n", "text"))
    pieces, words = result["text"]["scored"], result["text"]["word_tokens"]

    assert pieces > words == 6
    assert result["score"]["claimed"]["operations_ratio"] == pytest.approx(0.1 * pieces / words)


def test_table_labels_every_claim(claiming):
    table = result_table(claiming)
    assert "operations and storage: UNMETERED; the entry's own claims (micronet-2019-06)" in table
    assert "operations per word token  31,800,000 (claimed)" in table
    assert "score, total               1.10000 (claimed)" in table
    assert "gate, word perplexity of 35 or less: not asked" in table
    assert "sums             1.0000000 to 1.0000000" in table
    other = result_table(price_result(claiming, PROFILES["flops"]))
    assert "none: the claims are not made under flops, or it has no score" in other
    assert "gate" not in other


def test_table_without_claims(tmp_path, text):
    result = evaluate_entry(ForeignEntry(program(tmp_path), vocabulary(tmp_path)), text=text)
    assert "operations and storage: UNMETERED, and the entry claims nothing of them" in result_table(result)
    half = "answer['claims'] = {'profile': 'micronet-2019-06', 'parameters': 5}"
    result = evaluate_entry(ForeignEntry(program(tmp_path, answer=half), vocabulary(tmp_path)), text=text)
    assert "operations per word token  not claimed" in result_table(result)
    assert "score, total               not claimed" in result_table(result)


def test_result_is_read_again_and_its_chain_is_of_its_log_probabilities(claiming, tmp_path):
    claiming.save(tmp_path / "result.json")
    again = load_result(tmp_path / "result.json")
    assert again.document == claiming.document

    chain = HashChain(identity_bytes(document_identity(claiming.document)))
    chain.add(claiming.log_probs)
    assert again["chain"]["links"] == chain.links()
    assert document_identity(claiming.document)["entry"]["vocabulary"] == claiming["entry"]["vocabulary"]["sha256"]


SPOILT = {
    "histogram": (
        ["histogram"],
        [{"region": "x", "kind": "add", "bits_a": 1, "bits_b": 1, "count": 1}],
        "histogram.0 is",
    ),
    "empty row": (["histogram"], [None], "histogram.0 is None"),
    "bits": (["storage", "bits"], 0, "storage.bits is 0"),
    "policy": (["online", "policy"], "state", "online.policy is 'state'"),
    "metered": (["entry", "unmetered"], False, "entry.unmetered is False; expected one of True"),
    "protocol": (["entry", "protocol"], 2, "entry.protocol is 2; expected one of 1"),
    "claims": (["entry", "claims"], {"profile": JUNE}, "has no entry.claims.parameters"),
    "profile": (["entry", "claims", "profile"], "x", "entry.claims.profile is 'x'; expected one of micronet"),
    "entry": (["entry"], 5, "entry is 5"),
    "command": (["entry", "command"], "other", "but the rest of the document gives 'other'"),
    "vocabulary": (
        ["entry", "vocabulary", "sha256"],
        "0" * 64,
        "chain.links.0, the hash of entry, checkpoint.sha256, ",
    ),
}


@pytest.mark.parametrize("name", SPOILT)
def test_spoilt_results_are_refused(name, claiming, tmp_path):
    keys, value, message = SPOILT[name]
    document = copy.deepcopy(claiming.document)
    inner = document
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    (tmp_path / "spoilt.json").write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_result(tmp_path / "spoilt.json")
    assert message in str(caught.value)


def test_metered_results_may_not_leave_out_their_costs(tmp_path, text):
    document = evaluate(tiny_checkpoint(tmp_path / "model.npz"), text=text).document
    assert document["entry"] is None
    assert document["score"]["claimed"] is None
    for section, key in (("storage", "bits"), ("checkpoint", "sha256"), ("online", "bits_equal")):
        spoilt = copy.deepcopy(document)
        spoilt[section][key] = None
        (tmp_path / "spoilt.json").write_text(json.dumps(spoilt), encoding="utf-8")
        with pytest.raises(ConfigError, match=f"{section}.{key} is None"):
            load_result(tmp_path / "spoilt.json")


def test_unmetered_results_are_not_ranked(claiming, tmp_path, text):
    metered = evaluate(tiny_checkpoint(tmp_path / "model.npz"), text=text)
    found = rank([("claims", claiming), ("measured", metered)], PROFILES[JUNE])
    first, last = found["results"]
    assert (first["name"], first["score_rank"], first["highly_storage_efficient"]) == ("measured", 1, True)
    assert (last["name"], last["score_rank"], last["score"], last["unmetered"]) == ("claims", None, None, True)
    assert not last["highly_storage_efficient"]
    table = ranking_table(found)
    assert "not ranked, as it is unmetered: claims (claims storage 1.00000, operations 0.10000, score 1.10000)" in table
    only = rank([("claims", claiming)], PROFILES["micronet-2019-final"])
    assert "not ranked, as it is unmetered: claims (claims nothing)" in ranking_table(only)


def test_the_command(tmp_path, text, capsys):
    arguments = ["eval", "--entry", program(tmp_path, answer=CLAIMS), "--vocabulary", str(vocabulary(tmp_path))]
    arguments += ["--text", str(text), "--entry-timeout", "30", "--quiet", "--output", str(tmp_path / "result.json")]
    assert cli.main(arguments) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert "(foreign entry)" in printed.out
    assert cli.main(["rescore", str(tmp_path / "result.json"), "--profile", "flops"]) == 0
    assert "UNMETERED" in capsys.readouterr().out
    assert cli.main(["rank", str(tmp_path / "result.json")]) == 0
    saved = load_result(tmp_path / "result.json")
    assert saved["entry"]["timeout"] == 30
    assert [file["name"] for file in saved["entry"]["files"]] == [sys.executable, str(tmp_path / "entry.py")]


def test_default_vocabulary_is_that_of_the_shipped_checkpoint(tmp_path, text):
    result = evaluate_entry(program(tmp_path), text=text)
    assert result["entry"]["vocabulary"]["size"] == 6144
    assert (
        result["entry"]["vocabulary"]["sha256"] == lm_meter.Checkpoint(lm_meter.defaults.default_checkpoint()).sha256()
    )


OPTIONS = {
    (
        "--checkpoint",
        "m.npz",
    ): "--checkpoint does not go with --entry, whose program is the model; leave one of them away",
    (
        "--state",
        "s",
    ): "--state does not go with --entry: what a program holds in its own memory cannot be saved from here; leave --",
    ("--records", "r.txt"): "r.txt: is no name for records; expected one that ends in .npz",
    (
        "--threads",
        "2",
    ): "threads is 2, but how a foreign entry predicts is up to its program; expected it to be left out",
    ("--policy", "cache"): "policy is 'cache', but how a foreign entry predicts",
    ("--continuous-cache", "off"): "continuous_cache is 'off', but how",
    ("--block", "8"): "block is 8, but a foreign entry is run token by token; leave the option away",
}


@pytest.mark.parametrize("option", OPTIONS)
def test_options_of_a_checkpoint_are_refused(option, tmp_path, text, capsys):
    arguments = ["eval", "--entry", program(tmp_path), "--vocabulary", str(vocabulary(tmp_path)), "--text", str(text)]
    assert cli.main([*arguments, *option]) == 2
    assert OPTIONS[option] in capsys.readouterr().err


@pytest.mark.parametrize("option", [("--vocabulary", "words"), ("--entry-timeout", "3")])
def test_options_of_an_entry_are_refused_without_one(option, capsys):
    assert cli.main(["eval", *option]) == 2
    assert (
        f"{option[0]} is an option of a foreign entry; expected --entry 'COMMAND' beside it" in capsys.readouterr().err
    )


def test_vocabularies(tmp_path):
    from lm_meter.entry_vocabulary import read_vocabulary

    (tmp_path / "pieces.model").write_bytes(sentencepiece_model())
    pieces = read_vocabulary(tmp_path / "pieces.model")
    assert pieces.tokens()[pieces.tokenizer.specials.end_of_line] == "<eos>"
    assert pieces.tokens()[pieces.tokenizer.specials.unknown] == "<unk>"
    words = read_vocabulary(vocabulary(tmp_path))
    assert words.tokens() == list(WORDS)
    encoded = words.tokenizer.encode(text_from_bytes(b"the zebra\n", "t"), "unk")
    assert encoded.tokens.tolist() == [2, 1, 0]

    (tmp_path / "none").write_text("a\nb\n")
    with pytest.raises(
        TextError, match=r"the vocabulary has no <eos>, which ends each line of the text; expected it as"
    ):
        read_vocabulary(tmp_path / "none")
    (tmp_path / "latin").write_bytes(b"<eos>\n\xff")
    with pytest.raises(TextError, match=r"expected one word a line, or a NAME.model or NAME.npz"):
        read_vocabulary(tmp_path / "latin")
    with pytest.raises(TextError, match="expected a vocabulary, one word a line"):
        read_vocabulary(tmp_path / "absent")
