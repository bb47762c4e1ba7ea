"""The state of a training run: the model, its optimiser and average, saved and loaded whole."""

import io
import math
import os

import numpy
import torch
import train_lstm
import train_transformer

ARCHITECTURES = {"lstm": train_lstm, "transformer": train_transformer}


def replace(path, data):
    """Write the file whole or not at all."""
    part = path.with_suffix(".part")
    part.write_bytes(data)
    os.replace(part, path)


def piece_bias(tokenizer, counts):
    """Return the log of each piece's rate in the large text: a better start of the softmax than zero."""
    rates = numpy.ones(tokenizer.get_piece_size())
    for word, count in counts.items():
        for piece in tokenizer.encode(word):
            rates[piece] += count
    return torch.tensor(numpy.log(rates / rates.sum()), dtype=torch.float32)


class Run:
    """The state of a training run: everything that a checkpoint holds."""

    def __init__(self, args, counts, tokenizer):
        torch.manual_seed(args.seed)
        self.args = args
        self.path = args.work / "checkpoint.pt"
        self.architecture = ARCHITECTURES[args.architecture]
        self.model = self.architecture.Model(args)
        self.model.arrays["softmax/bias"].data = piece_bias(tokenizer, counts)
        if args.initial:
            with numpy.load(args.initial) as arrays, torch.no_grad():
                for name, array in self.model.arrays.items():
                    array.copy_(torch.from_numpy(arrays[name.replace("/", ".")]))
        matrices = [array for array in self.model.parameters() if array.dim() == 2]
        vectors = [array for array in self.model.parameters() if array.dim() == 1]
        self.optimizer = torch.optim.AdamW(
            [{"params": matrices, "weight_decay": args.decay}, {"params": vectors, "weight_decay": 0.0}],
            lr=args.rate,
            betas=(0.9, 0.99),
            fused=True,
        )
        self.average = {name: array.detach().clone() for name, array in self.model.arrays.items()}
        self.epoch, self.step, self.updates, self.best = 0, 0, 0, math.inf
        self.state = self.model.start(args.batch)
        if self.path.exists():
            self.load()

    def save(self):
        """Write the checkpoint."""
        data = io.BytesIO()
        torch.save(
            {
                "model": self.model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "average": self.average,
                "random": torch.get_rng_state(),
                "state": self.state,
                "place": (self.epoch, self.step, self.updates, self.best),
            },
            data,
        )
        replace(self.path, data.getvalue())

    def load(self):
        """Go on from the checkpoint."""
        saved = torch.load(self.path)
        self.model.load_state_dict(saved["model"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.average, self.state = saved["average"], saved["state"]
        self.epoch, self.step, self.updates, self.best = saved["place"]
        torch.set_rng_state(saved["random"])

    def learn(self, inputs, targets, progress):
        """Take one gradient step at `progress` (in epochs) and return the loss."""
        args = self.args
        factor = min(progress / args.warmup, 1.0, (args.epochs - progress) / args.cooldown)
        for group in self.optimizer.param_groups:
            group["lr"] = args.rate * factor
        loss, self.state = self.model(inputs, targets, self.state)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), args.clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.updates += 1
        memory = min(args.average, self.updates / (10.0 + self.updates))  # short at first
        for name, array in self.model.arrays.items():
            self.average[name].lerp_(array.detach(), 1.0 - memory)
        return loss.item()


def rounded(average):
    """Return the weights as they ship: matrices in float16, biases in float32."""
    return {name: array.half() if array.dim() == 2 else array for name, array in average.items()}


def perplexity(run, ids, start, words, quick):
    """Return the word perplexity of the averaged, rounded weights on `ids`."""
    arrays = {name: array.float() for name, array in rounded(run.average).items()}
    return math.exp(run.architecture.nats(arrays, run.args, ids, start, quick) / words)


def checkpoint_arrays(average, tokenizer):
    """Return the arrays of the weights under the names of lm-meter's checkpoints."""
    arrays = {name.replace("/", "."): array.numpy() for name, array in average.items()}
    arrays["tokenizer.model"] = numpy.frombuffer(tokenizer, dtype=numpy.uint8)
    return arrays
