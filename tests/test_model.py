"""A model in the user's own loop: what it refuses."""

import pytest
from tiny import WORDS, tiny_checkpoint, tiny_parts

from lm_meter import Checkpoint, ConfigError, MeterError, Model, write_checkpoint


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return Model(tiny_checkpoint(tmp_path_factory.mktemp("model") / "model.npz"), threads=1)


def test_an_open_checkpoint_is_as_good_as_its_name(tmp_path):
    path = tiny_checkpoint(tmp_path / "model.npz")
    by_name, opened = Model(path, threads=1), Model(Checkpoint(path), threads=1)
    assert opened.log_probs().tobytes() == by_name.log_probs().tobytes()


@pytest.mark.parametrize("given", [5, None, b"model.npz", ["model.npz"]])
def test_what_names_no_checkpoint(given):
    with pytest.raises(ConfigError) as caught:
        Model(given)
    assert str(caught.value) == (f"checkpoint is {given!r}; expected the name of a file, or an lm_meter.Checkpoint")


@pytest.mark.parametrize("token", [-1, len(WORDS), 2**40])
@pytest.mark.parametrize("call", ["log_prob", "advance"])
def test_a_token_out_of_range(token, call, model):
    with pytest.raises(ConfigError) as caught:
        getattr(model, call)(token)

    assert str(caught.value) == f"token is {token}; expected 0 to {len(WORDS) - 1}"


def test_a_refused_token_changes_nothing(model):
    before, counted = model.log_prob(3), model.histogram
    with pytest.raises(ConfigError):
        model.advance(len(WORDS))

    assert model.histogram == counted
    assert model.log_prob(3) == before


def test_threads_out_of_range(tmp_path):
    with pytest.raises(ConfigError, match=r"^threads is 0; expected 1 to 256$"):
        Model(tiny_checkpoint(tmp_path / "model.npz"), threads=0)


@pytest.mark.parametrize("call", [lambda model: model.log_prob(0), lambda model: model.log_probs()])
def test_without_a_start_token_there_is_no_prediction_before_the_first_token(call, tmp_path):
    config, arrays = tiny_parts()
    config["tokenizer"]["start"] = None
    write_checkpoint(tmp_path / "model.npz", config, arrays)
    model = Model(tmp_path / "model.npz", threads=1)

    with pytest.raises(MeterError) as caught:
        call(model)

    assert str(caught.value) == "the model has seen no token and has no start token; call advance(token) first"
    model.advance(0)
    call(model)
