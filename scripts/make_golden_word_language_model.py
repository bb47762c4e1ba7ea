"""Write tests/golden/word_language_model.npz: what PyTorch says of small random models like its example's.

    python scripts/make_golden_word_language_model.py

Needs PyTorch; the test that compares (``tests/test_golden_word_language_model.py``) does not. Each model is an
``Embedding``, an ``LSTM`` or a ``GRU`` and a ``Linear``, as in PyTorch's example word_language_model. The file holds
for each case, under ``CASE/``: ``tensor/NAME`` (its state dict, float32), ``tokens`` (n,) int64, and ``log_probs``
(n - 1,) float64 in nats: of each token but the first, which is context, after all tokens before it, by the same weights
in float64.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from extras import extras


def parse_options() -> argparse.Namespace:
    """Options from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Path(__file__).resolve().parents[1] / "tests" / "golden" / "word_language_model.npz"
    parser.add_argument("--out", type=Path, default=default, metavar="FILE.npz", help="default: tests/golden/")
    return parser.parse_args()


OPTIONS = parse_options() if __name__ == "__main__" else None

with extras("torch"):
    import torch

TOKENS = 600
# The weights' spread, on a scale with PyTorch's own initial one: predictions differ, and no recurrence is chaotic.
_GAIN = 2.0


@dataclass(frozen=True)
class Case:
    """A model: its recurrent layers' class, V, E, H, number of layers, whether it is tied."""

    kind: type[torch.nn.LSTM] | type[torch.nn.GRU]
    vocabulary: int
    embedding: int
    hidden: int
    layers: int
    tied: bool
    seed: int


# Sizes that are no multiples of 16, so that the padding of every matrix is exercised.
CASES = {
    "lstm_1_untied": Case(torch.nn.LSTM, 61, 20, 27, 1, False, 1),
    "lstm_1_tied": Case(torch.nn.LSTM, 47, 22, 22, 1, True, 2),
    "lstm_2_untied": Case(torch.nn.LSTM, 53, 18, 25, 2, False, 3),
    "lstm_2_tied": Case(torch.nn.LSTM, 59, 21, 21, 2, True, 4),
    "gru_1_untied": Case(torch.nn.GRU, 61, 20, 27, 1, False, 5),
    "gru_2_tied": Case(torch.nn.GRU, 59, 21, 21, 2, True, 6),
}


class Network(torch.nn.Module):
    """The parts under the names that they have in the example, without its dropout, which is off when it evaluates."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self.encoder = torch.nn.Embedding(case.vocabulary, case.embedding)
        self.rnn = case.kind(case.embedding, case.hidden, case.layers)
        self.decoder = torch.nn.Linear(case.hidden, case.vocabulary)
        if case.tied:
            self.decoder.weight = self.encoder.weight

    def log_probs(self, tokens: torch.Tensor) -> torch.Tensor:
        """Log-probability of each token but the first, (n - 1,) in nats."""
        with torch.no_grad():
            output, _ = self.rnn(self.encoder(tokens[:-1]))
            return torch.log_softmax(self.decoder(output), dim=1).gather(1, tokens[1:, None])[:, 0]


def random_network(case: Case) -> Network:
    """A network in float32 whose weights and biases are all random."""
    torch.manual_seed(case.seed)
    network = Network(case)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            columns = parameter.shape[1] if parameter.dim() == 2 and not name.startswith("encoder") else case.hidden
            parameter.uniform_(-1, 1).mul_(_GAIN / columns**0.5)
    return network


def main(out: Path) -> None:
    """Write the golden file."""
    torch.set_num_threads(1)
    golden: dict[str, np.ndarray] = {}
    for name, case in CASES.items():
        network = random_network(case)
        golden |= {f"{name}/tensor/{key}": value.numpy().copy() for key, value in network.state_dict().items()}
        tokens = torch.randint(case.vocabulary, (TOKENS,))
        tokens[-1] = 0  # "<eos>": a text's last line ends
        log_probs = network.double().log_probs(tokens).numpy()
        golden |= {f"{name}/tokens": tokens.numpy(), f"{name}/log_probs": log_probs}
        print(f"{name}: mean loss {-log_probs.mean():.9f} nats, from {-log_probs.max():.3f} to {-log_probs.min():.3f}")
    np.savez_compressed(out, **golden)
    print(f"{out}: {out.stat().st_size:,} bytes, PyTorch {torch.__version__}")


if __name__ == "__main__":
    main(OPTIONS.out)
