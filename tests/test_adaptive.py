"""Adaptive embedding and softmax: what a configuration must not say, and what one of two ends may."""

import copy

import numpy as np
import pytest
from tiny import ADAPTIVE, TIED_BINS, narrowed, tiny_parts

import lm_meter

WORDS = ("<eos>", "<unk>", *(f"w{i}" for i in range(398)))


@pytest.fixture
def refused(tmp_path):
    """The message with which a configuration is refused that differs from a valid one by ``change``."""

    def refuse(change, adaptive=ADAPTIVE, **options):
        options = {"embedding": 9, "hidden": (12,), **options}
        config, arrays = tiny_parts(words=WORDS, adaptive=copy.deepcopy(adaptive), **options)
        change(config)
        with pytest.raises(lm_meter.CheckpointError) as caught:
            lm_meter.write_checkpoint(tmp_path / "model.npz", config, arrays)
        return str(caught.value).removeprefix(f"{tmp_path / 'model.npz'}: ")

    return refuse


@pytest.mark.parametrize("cutoffs", [[100, 30], [30, 30], [30, 400]])
def test_cutoffs_out_of_order_or_beyond_the_vocabulary(cutoffs, refused):
    message = refused(lambda config: config["adaptive"]["embedding"].update(cutoffs=cutoffs))
    assert message == f"adaptive.embedding.cutoffs is {cutoffs}; expected ascending numbers below the vocabulary's 400"


def test_widths_of_another_number_of_bins(refused):
    message = refused(lambda config: config["adaptive"]["softmax"].update(widths=[12, 3, 1]))
    assert message == "adaptive.softmax.widths is [12, 3, 1]; expected one for each of 2 bins"


@pytest.mark.parametrize(
    ("end", "expected"), [("embedding", ""), ("softmax", ", tail_bias, charged")], ids=["embedding", "softmax"]
)
def test_entries_that_bins_do_not_have(end, expected, refused):
    message = refused(lambda config: config["adaptive"][end].update(cutofs=[30]))
    assert (
        message == f"adaptive.{end}.cutofs is not known here, but may matter; known are cutoffs, "
        f"widths, project_first{expected}"
    )


def test_a_first_bin_that_would_need_a_projection(refused):
    message = refused(lambda config: config["adaptive"]["softmax"].update(widths=[11, 3]))
    assert message == (
        "adaptive.softmax.widths begins with 11, but the first bin is not projected; expected 12, or "
        "project_first: true"
    )


def test_ends_that_are_tied_but_differ(refused):
    message = refused(lambda config: config.update(tied=True))
    assert message == (
        "the softmax is tied to the embedding, but adaptive.embedding and adaptive.softmax have other cutoffs, widths "
        "or first projections; expected the same, or tied: false"
    )


def test_projections_that_cannot_be_tied(refused):
    message = refused(lambda config: config["adaptive"].update(tied_projections=True))
    assert message == (
        "adaptive.tied_projections is true; expected tied bins, and an embedding as wide as the vectors that the "
        "softmax reads"
    )


def test_what_is_charged_must_be_said(refused):
    message = refused(lambda config: config["adaptive"]["softmax"].update(charged="some"))
    assert message == "adaptive.softmax.charged is 'some'; expected one of all, needed"


def test_a_tied_projection_of_integers_has_no_transpose(tmp_path):
    options = {"embedding": 12, "hidden": (12,), "tied": True, "adaptive": TIED_BINS}
    parts = narrowed(*tiny_parts(words=WORDS, **options), {"embedding.1.projection": {"format": "int8"}})
    with pytest.raises(lm_meter.CheckpointError) as caught:
        lm_meter.write_checkpoint(tmp_path / "model.npz", *parts)
    assert not (tmp_path / "model.npz").exists()
    assert str(caught.value) == (
        f"{tmp_path / 'model.npz'}: array embedding.1.projection: is int8, but is used transposed too; expected "
        "floating-point numbers, none pruned, or adaptive.tied_projections: false"
    )


@pytest.mark.parametrize("end", ["embedding", "softmax"])
def test_one_end_alone_may_be_adaptive(end, tmp_path):
    adaptive = {end: ADAPTIVE[end], "tied_projections": False}
    parts = tiny_parts(words=WORDS, embedding=9, hidden=(12,), adaptive=adaptive)
    lm_meter.write_checkpoint(tmp_path / "model.npz", *parts)
    model = lm_meter.Model(tmp_path / "model.npz")
    for token in (3, 50, 399):
        model.advance(token)
    # Of 400 probabilities each is off by less than 40 half units of 2**-24: see test_log_softmax.
    assert np.exp(model.log_probs()).sum() == pytest.approx(1, abs=40 * 2.0**-24)


def test_a_tied_bin_is_stored_once(tmp_path):
    options = {"embedding": 12, "hidden": (12,), "tied": True, "adaptive": TIED_BINS}
    lm_meter.write_checkpoint(tmp_path / "model.npz", *tiny_parts(words=WORDS, **options))
    text = tmp_path / "text"
    text.write_text("w1 w2\n", encoding="utf-8")
    result = lm_meter.evaluate(tmp_path / "model.npz", text=text)
    counts = {tensor["name"]: (tensor["count"], tensor["tied_to"]) for tensor in result["storage"]["tensors"]}
    assert counts["embedding.2"] == (300 * 5, None)
    assert counts["softmax.2.weight"] == (0, "embedding.2")
    assert counts["softmax.2.projection"] == (0, "embedding.2.projection")
    assert counts["softmax.clusters.weight"] == (2 * 8, None)
