"""Train the language models that ship with lm-meter, on a processor, from two small WikiText files.

The text is WikiText-2's training text; the tokenizer is trained on the word counts of WikiText-103, whose
rare words also replace those of the text (see train_data). Needs numpy, sentencepiece and torch. The run is
deterministic for a given number of threads, and a run that was cut goes on from its work folder.
"""

import argparse
import hashlib
import io
import pathlib
import time

from extras import extras


def arguments():
    """Return the parsed command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add = parser.add_argument
    add("--train", required=True, help="WikiText-2 training text")
    add("--valid", required=True, help="WikiText-103 validation text")
    add("--vocab-counts", required=True, help="WikiText-103 words and counts, separated by a tab")
    add("--work", required=True, type=pathlib.Path, help="folder of the tokenizer, checkpoint and log")
    add("--out", required=True, help="checkpoint to write (.npz)")
    add("--initial", help="checkpoint of an earlier training run to start from: its weights and its tokenizer")
    add("--tokenizer", help="checkpoint to take only the tokenizer from; it has --pieces pieces")
    add("--architecture", choices=("lstm", "transformer"), default="lstm", help="what is trained")
    add("--pieces", type=int, default=6144, help="size of the SentencePiece vocabulary")
    add("--embedding", type=int, default=256, help="width of the embedding")
    add("--hidden", type=int, nargs="+", default=[608], help="LSTM: width of each layer")
    add("--layers", type=int, default=3, help="transformer: number of layers")
    add("--heads", type=int, default=3, help="transformer: heads of the attention, which share --embedding")
    add("--feed-forward", type=int, default=192, help="transformer: hidden width of the feed-forward layers")
    add("--discount", type=float, default=1.0, help="occurrences of each word given to unseen words")
    add("--epochs", type=int, default=8, help="passes over the text, each drawn anew")
    add("--batch", type=int, default=32, help="streams read side by side")
    add("--steps", type=int, default=64, help="pieces of each stream in a gradient step; transformer: the context")
    add("--rate", type=float, default=3e-3, help="highest learning rate")
    add("--warmup", type=float, default=0.2, help="epochs in which the learning rate rises")
    add("--cooldown", type=float, default=4.0, help="last epochs, in which the learning rate falls to zero")
    add("--decay", type=float, default=0.02, help="weight decay of the matrices")
    add("--clip", type=float, default=0.5, help="highest gradient norm")
    add("--average", type=float, default=0.998, help="factor of the moving average of the weights")
    add("--drop-piece", type=float, default=0.02, help="rate of dropped embedding rows")
    add("--drop-input", type=float, default=0.05, help="rate of dropped embedding units")
    add("--drop-weight", type=float, default=0.1, help="LSTM: rate of dropped recurrent weights")
    add("--drop-output", type=float, default=0.15, help="rate of dropped outputs of a layer or of its parts")
    add(
        "--precision",
        choices=("float32", "bfloat16"),
        default="float32",
        help="type of the products; bfloat16 is faster on a processor that has instructions for it, and much slower "
        "on any other",
    )
    add("--threads", type=int, default=2, help="threads; part of what makes a run repeatable")
    add("--seed", type=int, default=1, help="seed of everything drawn")
    add("--save-every", type=int, default=250, help="gradient steps between two saves")
    return parser.parse_args()


ARGUMENTS = arguments() if __name__ == "__main__" else None

with extras("'.[train]'"):
    import numpy
    import sentencepiece
    import torch
    import train_data
    from train_run import ARCHITECTURES, Run, checkpoint_arrays, perplexity, replace, rounded


def load_tokenizer(args, counts):
    """Return the bytes of the tokenizer: that of another checkpoint, or one trained at the first start."""
    if args.tokenizer or args.initial:
        with numpy.load(args.tokenizer or args.initial) as arrays:
            return arrays["tokenizer.model"].tobytes()
    path = args.work / "tokenizer.model"
    if not path.exists():
        replace(path, train_data.train_tokenizer(counts, args.pieces, args.threads))
    return path.read_bytes()


def export(args, average, tokenizer):
    """Write the checkpoint that ships."""
    from lm_meter import write_checkpoint  # only this step needs the package

    start = ""
    if args.initial:
        start = (
            f"; from the checkpoint with SHA-256 {hashlib.sha256(pathlib.Path(args.initial).read_bytes()).hexdigest()}"
        )
    config = {
        **ARCHITECTURES[args.architecture].config(args),
        "tokenizer": {
            "kind": "sentencepiece",
            "start": train_data.END_OF_LINE,
            "end_of_line": train_data.END_OF_LINE,
            "unknown": train_data.UNKNOWN,
        },
        "origin": f"scripts/train_lm.py: {args.epochs} epochs of WikiText-2, its rare words redrawn from the "
        f"word counts of WikiText-103, seed {args.seed}{start}",
    }
    write_checkpoint(args.out, config, checkpoint_arrays(rounded(average), tokenizer))


def main(args):
    """Train, or go on training, and export the best weights."""
    args.work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(args.threads)
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # nothing is read before it is written
    torch.set_flush_denormal(True)

    counts = train_data.read_counts(args.vocab_counts)
    model = load_tokenizer(args, counts)
    tokenizer = sentencepiece.SentencePieceProcessor(model_proto=model)
    valid = train_data.read_lines(args.valid)
    words = train_data.word_tokens(valid)
    # Unseen text has about twice the <unk> of the text whose words were counted, so its rate comes from here.
    unknown_rate = sum(line.count(train_data.UNKNOWN) for line in valid) / words
    text = train_data.Text(train_data.read_lines(args.train), counts, tokenizer, unknown_rate, args.discount)
    valid_ids = torch.from_numpy(text.encode(valid))

    run = Run(args, counts, tokenizer)
    best = args.work / "best.npz"
    began, losses = time.time(), []

    def measure():
        """Log about the validation perplexity and keep the best weights."""
        value = perplexity(run, valid_ids, text.end, words, quick=True)
        with open(args.work / "log.tsv", "a", encoding="utf-8") as log:
            log.write(
                f"{run.epoch}\t{run.step}\t{numpy.mean(losses or [0]):.4f}\t{value:.2f}\t{time.time() - began:.0f}\n"
            )
        losses.clear()
        if value < run.best:
            run.best = value
            data = io.BytesIO()
            numpy.savez(data, **checkpoint_arrays(run.average, model))
            replace(best, data.getvalue())
        run.save()

    while run.epoch < args.epochs:
        ids = torch.from_numpy(text.draw([args.seed, run.epoch]))
        ids = ids.roll(-int(numpy.random.default_rng([args.seed, run.epoch, 1]).integers(len(ids))))
        length = (len(ids) - 1) // args.batch
        inputs = ids[: length * args.batch].view(args.batch, length).t()
        targets = ids[1 : length * args.batch + 1].view(args.batch, length).t()
        while run.step < length // args.steps:
            here = slice(run.step * args.steps, (run.step + 1) * args.steps)
            run.step += 1
            progress = run.epoch + run.step / (length // args.steps)
            losses.append(run.learn(inputs[here], targets[here], progress))
            if run.step % args.save_every == 0:
                run.save()
                print(
                    f"epoch {run.epoch} step {run.step} of {length // args.steps} "
                    f"loss {numpy.mean(losses[-args.save_every :]):.4f} {time.time() - began:.0f} s",
                    flush=True,
                )
        run.epoch, run.step = run.epoch + 1, 0
        run.state = run.model.start(args.batch)
        measure()
        print(f"epoch {run.epoch} of {args.epochs}: validation perplexity about {run.best:.2f}", flush=True)

    with numpy.load(best) as arrays:
        run.average = {name: torch.from_numpy(arrays[name.replace("/", ".")]) for name in run.average}
    print(f"validation perplexity {perplexity(run, valid_ids, text.end, words, quick=False):.3f}", flush=True)
    export(args, run.average, model)


if __name__ == "__main__":
    main(ARGUMENTS)
