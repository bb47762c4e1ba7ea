"""The LSTM language model in training: hand-written gradients, products in float32 or bfloat16."""

import math

import torch
from torch.nn import functional
from train_model import TiedModel
from train_softmax import locked_dropout


class LSTMLayer(torch.autograd.Function):
    """One LSTM layer over a whole chunk: products in the type of the inputs, the cell state in float32.

    Gates are in PyTorch's order i, f, g, o. Written out by hand because it takes about half the time of
    torch.nn.LSTM on a processor with bfloat16 instructions.
    """

    @staticmethod
    def forward(ctx, inputs, hidden, cell, input_weight, hidden_weight, bias):
        """Return the hidden vectors of all steps, and the hidden vector and cell after them."""
        steps, batch, _ = inputs.shape
        gates = torch.addmm(bias, inputs.flatten(0, 1), input_weight.t()).view(steps, batch, -1)
        hiddens = hidden.new_empty(steps + 1, *hidden.shape)
        cells = cell.new_empty(steps + 1, *cell.shape)
        hiddens[0], cells[0] = hidden, cell
        transposed = hidden_weight.t()
        for step in range(steps):
            gate = torch.addmm(gates[step], hiddens[step], transposed)
            i, f, g, o = gate.chunk(4, 1)
            gate[:, : 2 * hidden.shape[1]].sigmoid_()
            g.tanh_()
            o.sigmoid_()
            torch.addcmul(f * cells[step], i, g, out=cells[step + 1])
            torch.mul(o, cells[step + 1].tanh(), out=hiddens[step + 1])
            gates[step] = gate
        ctx.save_for_backward(inputs, input_weight, hidden_weight, gates, hiddens, cells)
        return hiddens[1:], hiddens[-1].clone(), cells[-1].clone()

    @staticmethod
    def backward(ctx, grad_outputs, _hidden, _cell):
        """Return the gradients; the state a chunk starts from is a constant (truncated back-propagation)."""
        inputs, input_weight, hidden_weight, gates, hiddens, cells = ctx.saved_tensors
        grads = torch.empty_like(gates)
        grad_hidden = torch.zeros_like(hiddens[0])
        grad_cell = torch.zeros_like(cells[0])
        for step in reversed(range(len(gates))):
            i, f, g, o = gates[step].float().chunk(4, 1)
            squashed = cells[step + 1].tanh()
            grad_hidden = grad_outputs[step].float() + grad_hidden
            grad_cell = torch.addcmul(grad_cell, grad_hidden * o, 1 - squashed * squashed)
            grad = torch.cat(
                (
                    grad_cell * g * i * (1 - i),
                    grad_cell * cells[step] * f * (1 - f),
                    grad_cell * i * (1 - g * g),
                    grad_hidden * squashed * o * (1 - o),
                ),
                1,
            )
            grads[step] = grad
            grad_cell = grad_cell * f
            grad_hidden = grads[step] @ hidden_weight
        flat = grads.flatten(0, 1)
        return (
            (flat @ input_weight).view_as(inputs),
            None,
            None,
            flat.t() @ inputs.flatten(0, 1),
            flat.t() @ hiddens[:-1].flatten(0, 1),
            flat.float().sum(0).to(flat.dtype),
        )


def weight_mask(rows, columns, rate, dtype):
    """Return a dropout mask drawn as bytes, eight at a time: a draw for each weight would take long."""
    draws = torch.empty(-(-rows * columns // 8), dtype=torch.int64).random_(-(2**63), None).view(torch.uint8)
    kept = draws[: rows * columns].view(rows, columns) >= round(256 * rate)
    return kept.to(dtype) / (1.0 - round(256 * rate) / 256)


class Model(TiedModel):
    """Embedding, LSTM layers, optional projection, softmax tied to the embedding; float32 parameters."""

    def __init__(self, args):
        super().__init__(args)
        width = args.embedding
        for layer, size in enumerate(args.hidden):
            self.add(f"lstm/{layer}/weight", (4 * size, width + size), 1 / math.sqrt(size))
            self.add(f"lstm/{layer}/bias", (4 * size,), 0.0)
            self.arrays[f"lstm/{layer}/bias"].data[size : 2 * size] = 1.0  # remember from the start
            width = size
        self.add("projection/weight", (args.embedding, width), 1 / math.sqrt(width))
        self.add("projection/bias", (args.embedding,), 0.0)
        self.add("softmax/bias", (args.pieces,), 0.0)

    def start(self, batch):
        """Return the zero state of `batch` streams."""
        return [(torch.zeros(batch, size, dtype=self.precision), torch.zeros(batch, size)) for size in self.args.hidden]

    def forward(self, inputs, targets, state):
        """Return the training loss of a chunk ([steps, batch] ids) and the state after it."""
        arrays, args, low = self.arrays, self.args, self.precision
        values = locked_dropout(self.embedded(inputs), args.drop_input)
        after = []
        for layer, (hidden, cell) in enumerate(state):
            weight = arrays[f"lstm/{layer}/weight"].to(low)
            width = values.shape[2]
            recurrent = weight[:, width:] * weight_mask(*weight[:, width:].shape, args.drop_weight, low)
            values, hidden, cell = LSTMLayer.apply(
                values, hidden, cell, weight[:, :width].contiguous(), recurrent, arrays[f"lstm/{layer}/bias"].to(low)
            )
            after.append((hidden.detach(), cell.detach()))
            values = locked_dropout(values, args.drop_output)
        values = values.flatten(0, 1)
        values = functional.linear(values, arrays["projection/weight"].to(low), arrays["projection/bias"].to(low))
        return self.loss(values, targets), after


def config(args):
    """Return what a checkpoint says of the model."""
    return {
        "architecture": "lstm",
        "dimensions": {
            "vocabulary": args.pieces,
            "embedding": args.embedding,
            "hidden": args.hidden,
            "projection": args.embedding,
        },
        "tied": True,
        "bias": {"lstm": True, "projection": True, "softmax": True},
    }


@torch.no_grad()
def nats(arrays, args, ids, start, quick):
    """Return the total nats of `ids` in float32, read from the piece `start` and zero state.

    `quick`: cut into 16 streams that are read side by side, each from its own start; hardly worse.
    """
    streams, steps, layers = 16 if quick else 1, 512, len(args.hidden)
    length = -(-len(ids) // streams)
    targets = torch.full((streams * length,), -1)
    targets[: len(ids)] = ids
    targets = targets.view(streams, length).t()
    inputs = torch.cat((torch.full((1, streams), start), targets[:-1])).clamp(min=0)
    modules, state = [], [None] * layers
    for layer in range(layers):
        weight, bias = arrays[f"lstm/{layer}/weight"], arrays[f"lstm/{layer}/bias"]
        size = len(bias) // 4
        module = torch.nn.LSTM(weight.shape[1] - size, size)
        module.weight_ih_l0.copy_(weight[:, :-size])
        module.weight_hh_l0.copy_(weight[:, -size:])
        module.bias_ih_l0.copy_(bias)
        module.bias_hh_l0.zero_()
        modules.append(module)
    total = 0.0
    for first in range(0, length, steps):
        values = functional.embedding(inputs[first : first + steps], arrays["embedding"])
        for layer, module in enumerate(modules):
            values, state[layer] = module(values, state[layer])
        values = functional.linear(values, arrays["projection/weight"], arrays["projection/bias"])
        logits = functional.linear(values, arrays["embedding"], arrays["softmax/bias"]).flatten(0, 1)
        losses = functional.cross_entropy(
            logits, targets[first : first + steps].flatten(), ignore_index=-1, reduction="none"
        )
        total += losses.double().sum().item()
    return total
