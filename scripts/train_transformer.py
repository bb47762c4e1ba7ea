"""A small decoder-only transformer in training: windows of the text, each seen alone.

The form of Llama: root-mean-square normalisation before each part, rotary positions, a gated feed-forward layer.
"""

import math

import torch
from torch.nn import functional
from train_model import TiedModel

BASE = 10000.0  # of the rotary frequencies
EPSILON = 1e-5  # of the normalisations
WINDOWS = 256  # windows that are measured together


def turned(vectors):
    """Rotate queries or keys ([..., steps, width of a head]) by their positions; partners are half a head apart."""
    steps, half = vectors.shape[-2], vectors.shape[-1] // 2
    frequencies = BASE ** (-torch.arange(half) / half)
    angles = torch.arange(steps)[:, None] * frequencies
    cosine, sine = angles.cos().to(vectors.dtype), angles.sin().to(vectors.dtype)
    first, second = vectors.chunk(2, -1)
    return torch.cat((first * cosine - second * sine, first * sine + second * cosine), -1)


def outputs(arrays, args, values, drop=0.0):
    """Return what the softmax reads ([batch, steps, width]) for embedded windows of the same shape."""

    def norm(name):
        return functional.rms_norm(values, values.shape[-1:], arrays[f"{name}/norm/weight"].to(values.dtype), EPSILON)

    def linear(inputs, name):
        return functional.linear(inputs, arrays[f"{name}/weight"].to(inputs.dtype))

    def heads(vectors):
        return vectors.unflatten(-1, (args.heads, -1)).transpose(1, 2)

    for layer in range(args.layers):
        name = f"layers/{layer}/attention"
        normed = norm(name)
        query, key, value = (heads(linear(normed, f"{name}/{part}")) for part in ("query", "key", "value"))
        mixed = functional.scaled_dot_product_attention(turned(query), turned(key), value, is_causal=True)
        part = linear(mixed.transpose(1, 2).flatten(2), f"{name}/output")
        values = values + functional.dropout(part, drop, drop > 0)
        name = f"layers/{layer}/feed_forward"
        normed = norm(name)
        part = linear(
            functional.silu(linear(normed, f"{name}/gate")) * linear(normed, f"{name}/input"), f"{name}/output"
        )
        values = values + functional.dropout(part, drop, drop > 0)
    return functional.rms_norm(values, values.shape[-1:], arrays["norm/weight"].to(values.dtype), EPSILON)


class Model(TiedModel):
    """Embedding, layers of attention and feed-forward, softmax tied to the embedding; float32 parameters."""

    def __init__(self, args):
        super().__init__(args)
        width = args.embedding
        for layer in range(args.layers):
            name = f"layers/{layer}/attention"
            self.add(f"{name}/norm/weight", (width,))
            for part in ("query", "key", "value", "output"):
                self.add(f"{name}/{part}/weight", (width, width), 1 / math.sqrt(width))
            name = f"layers/{layer}/feed_forward"
            self.add(f"{name}/norm/weight", (width,))
            self.add(f"{name}/gate/weight", (args.feed_forward, width), 1 / math.sqrt(width))
            self.add(f"{name}/input/weight", (args.feed_forward, width), 1 / math.sqrt(width))
            self.add(f"{name}/output/weight", (width, args.feed_forward), 1 / math.sqrt(args.feed_forward))
        self.add("norm/weight", (width,))
        self.add("softmax/bias", (args.pieces,), 0.0)

    def start(self, batch):
        """Return nothing: a window does not know what came before it."""

    def forward(self, inputs, targets, state):
        """Return the training loss of a chunk ([steps, batch] ids), `batch` windows, and no state."""
        args = self.args
        values = functional.dropout(self.embedded(inputs.t()), args.drop_input, args.drop_input > 0)
        values = outputs(self.arrays, args, values, args.drop_output).flatten(0, 1)
        return self.loss(values, targets.t()), state


def config(args):
    """Return what a checkpoint says of the model."""
    return {
        "architecture": "transformer",
        "dimensions": {
            "vocabulary": args.pieces,
            "width": args.embedding,
            "layers": args.layers,
            "heads": args.heads,
            "key_value_heads": args.heads,
            "head_width": args.embedding // args.heads,
            "feed_forward": args.feed_forward,
            "context": args.steps,
        },
        "positions": {"kind": "rotary", "pairs": "halves", "base": BASE, "rotated": args.embedding // args.heads},
        "norm": {"kind": "root_mean_square", "place": "before", "final": True, "bias": False, "epsilon": EPSILON},
        "attention": {},
        "feed_forward": {"activation": "silu", "gated": True},
        "embedding": {"scale": 1.0},
        "tied": True,
        "bias": {"attention": False, "attention_output": False, "feed_forward": False, "softmax": True},
    }


@torch.no_grad()
def nats(arrays, args, ids, start, quick):
    """Return the total nats of `ids` in float32, the piece `start` before them; each window of pieces is run afresh.

    Every prediction sees `steps` pieces, or all that there are at the beginning. `quick`: a window gives half as many
    predictions as it has pieces, which see that many or more.
    """
    inputs = torch.cat((torch.tensor([start]), ids[:-1]))
    length = min(args.steps, len(ids))
    new = max(length // 2, 1) if quick else 1

    def loss(firsts, predictions):
        places = firsts[:, None] + torch.arange(length)
        values = functional.embedding(inputs[places], arrays["embedding"])
        values = outputs(arrays, args, values)[:, -predictions:].flatten(0, 1)
        logits = functional.linear(values, arrays["embedding"], arrays["softmax/bias"])
        targets = ids[places[:, -predictions:]].flatten()
        return functional.cross_entropy(logits, targets, reduction="none").double().sum().item()

    total = loss(torch.tensor([0]), length)
    firsts = torch.arange(new, len(ids) - length + 1, new)
    for part in firsts.split(WINDOWS):
        total += loss(part, new)
    rest = (len(ids) - length) % new
    return total + (loss(torch.tensor([len(ids) - length]), rest) if rest else 0.0)
