"""State dicts of word_language_model as arrays: small random ones, and those of the golden file."""

from pathlib import Path

import numpy as np

GOLDEN = Path(__file__).parent / "golden" / "word_language_model.npz"
WORDS = ("<eos>", "<unk>", "the", "cat", "sat")
GATES = {"lstm": 4, "gru": 3, "rnn": 1}


def random_state(kind="lstm", *, embedding=3, hidden=4, layers=1, tied=False, dtype=np.float32):
    """Random tensors of a model over ``WORDS``, in the order of the example's own."""
    rng = np.random.default_rng(3)
    rows = GATES[kind] * hidden
    shapes = {"encoder.weight": (len(WORDS), embedding)}
    for layer in range(layers):
        shapes[f"rnn.weight_ih_l{layer}"] = (rows, hidden if layer else embedding)
        shapes[f"rnn.weight_hh_l{layer}"] = (rows, hidden)
        shapes[f"rnn.bias_ih_l{layer}"] = shapes[f"rnn.bias_hh_l{layer}"] = (rows,)
    shapes |= {"decoder.weight": (len(WORDS), hidden), "decoder.bias": (len(WORDS),)}
    state = {name: rng.standard_normal(shape).astype(dtype) for name, shape in shapes.items()}
    return state | {"decoder.weight": state["encoder.weight"]} if tied else state


def vocabulary(path, words=WORDS):
    """Write words as a vocabulary, one a line."""
    path.write_text("".join(f"{word}\n" for word in words), encoding="utf-8")
    return path


def golden_names():
    """Cases of the golden file."""
    with np.load(GOLDEN) as file:
        return sorted({key.partition("/")[0] for key in file.files})


def golden_case(name):
    """State dict, words, tokens, and the log-probabilities of all but the first."""
    with np.load(GOLDEN) as file:
        prefix = f"{name}/tensor/"
        state = {key.removeprefix(prefix): file[key] for key in file.files if key.startswith(prefix)}
        tokens, log_probs = file[f"{name}/tokens"], file[f"{name}/log_probs"]
    words = ["<eos>", *(f"w{number}" for number in range(1, len(state["encoder.weight"])))]
    return state, words, tokens, log_probs


def text_of(tokens, words):
    """The text whose tokens these are, "<eos>" being the end of a line."""
    return "".join("\n" if words[token] == "<eos>" else f"{words[token]} " for token in tokens)
