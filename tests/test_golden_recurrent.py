"""Agreement with PyTorch in float64 on small recurrent models (golden file: ``scripts/make_golden_recurrent.py``)."""

import json
from pathlib import Path

import numpy as np
import pytest

import lm_meter

GOLDEN = Path(__file__).parent / "golden" / "recurrent_torch.npz"
CASES = (
    "two_layers_projection_tied",
    "one_layer_untied_no_bias",
    "three_layers",
    "gru",
    "gru_no_bias",
    "qrnn",
    "adaptive",
    "adaptive_no_bias",
)
TOKENS = 2000
# Promised for the mean over a text; the errors of single tokens have both signs and average out.
MEAN_TOLERANCE = 1e-6
# Both sides use the same stored weights, so what remains is our float32 arithmetic. Logits here stay below 2, where
# neighbouring float32 numbers are 2**-23 = 1.2e-7 apart; a logit is a sum of up to 36 terms, each rounded, of inputs
# that carry the roundings of the layers before it. Sixteen such steps cover that (the worst token is 4 steps off); a
# gate or a bias in the place of another is off by 0.05 or more.
TOKEN_TOLERANCE = 16 * 2**-23


def golden_case(name):
    """Configuration, checkpoint arrays, tokens, log-probabilities and mean loss of one case."""
    with np.load(GOLDEN) as file:
        fields = {key.removeprefix(f"{name}/"): file[key] for key in file.files if key.startswith(f"{name}/")}
    arrays = {key.removeprefix("array/"): value for key, value in fields.items() if key.startswith("array/")}
    config = json.loads(fields["config"].tobytes())
    return config, arrays, fields["tokens"], fields["log_probs"], float(fields["mean_loss"])


def text_of(tokens, arrays):
    """The text whose token stream is ``tokens``: words joined by spaces, "<eos>" being the end of a line."""
    words = arrays["tokenizer.words"].tobytes().decode().split("\n")
    pieces = ["\n" if words[token] == "<eos>" else f"{words[token]} " for token in tokens]
    return "".join(pieces)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("block", [1, 64])
def test_agrees_with_pytorch(name, block, tmp_path):
    config, arrays, tokens, log_probs, mean_loss = golden_case(name)
    lm_meter.write_checkpoint(tmp_path / "model.npz", config, arrays)
    (tmp_path / "text").write_text(text_of(tokens, arrays), encoding="utf-8")

    result = lm_meter.evaluate(tmp_path / "model.npz", text=tmp_path / "text", options=lm_meter.RunOptions(block=block))

    assert result["text"]["scored"] == TOKENS
    np.testing.assert_allclose(result.log_probs, log_probs, rtol=0, atol=TOKEN_TOLERANCE)
    assert abs(result["nll_nats"] / TOKENS - mean_loss) < MEAN_TOLERANCE


@pytest.mark.parametrize("name", CASES)
def test_text_gives_the_golden_tokens(name, tmp_path):
    config, arrays, tokens, _, _ = golden_case(name)
    lm_meter.write_checkpoint(tmp_path / "model.npz", config, arrays)
    (tmp_path / "text").write_text(text_of(tokens, arrays), encoding="utf-8")

    encoded = lm_meter.Model(tmp_path / "model.npz", threads=1).tokenizer.encode(lm_meter.read_text(tmp_path / "text"))

    np.testing.assert_array_equal(encoded.tokens, tokens)
