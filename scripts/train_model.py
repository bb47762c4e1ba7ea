"""What the language models in training have in common: parameters by name, and a softmax tied to the embedding."""

import torch
from torch.nn import functional
from train_softmax import SoftmaxLoss


class TiedModel(torch.nn.Module):
    """Float32 parameters under the names of a checkpoint's arrays.

    What they are drawn from depends on their order: the embedding comes first, and a model adds ``softmax/bias`` last.
    """

    def __init__(self, args):
        super().__init__()
        self.args = args
        self.precision = getattr(torch, args.precision)
        self.arrays = torch.nn.ParameterDict()
        self.add("embedding", (args.pieces, args.embedding), 0.1)

    def add(self, name, shape, spread=None):
        """Add one parameter, uniform in -spread .. spread, or all ones."""
        values = torch.ones(shape) if spread is None else torch.empty(shape).uniform_(-spread, spread)
        self.arrays[name] = torch.nn.Parameter(values)

    def embedded(self, inputs):
        """Return the vectors of pieces in the precision of the products; whole rows are dropped."""
        kept = (torch.rand(self.args.pieces, 1) >= self.args.drop_piece) / (1.0 - self.args.drop_piece)
        return functional.embedding(inputs, self.arrays["embedding"] * kept).to(self.precision)

    def loss(self, values, targets):
        """Return the mean loss in nats of what the softmax reads ([predictions, width])."""
        embedding = self.arrays["embedding"].to(self.precision)
        return SoftmaxLoss.apply(values, embedding, self.arrays["softmax/bias"], targets.flatten())
