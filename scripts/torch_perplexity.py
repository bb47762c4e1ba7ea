"""Perplexity of a shipped transformer in PyTorch, every prediction from its context run afresh.

    python scripts/torch_perplexity.py transformer-small.npz wiki.valid.tokens

It reads the file with numpy and shares no line with lm-meter, whose ``--policy recompute`` must agree with it.
Needs numpy, sentencepiece and torch.
"""

import argparse
import json
import math
import types

from extras import extras


def parse_options():
    """Return the parsed command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", help="of the form that train_lm.py --architecture transformer writes")
    parser.add_argument("text", help="lines of words")
    return parser.parse_args()


OPTIONS = parse_options() if __name__ == "__main__" else None

with extras("'.[train]'"):
    import numpy
    import sentencepiece
    import torch
    import train_data
    import train_transformer


def weights(file):
    """Return {name: float32 tensor}; integers are multiplied by the scales of their rows or groups of columns."""
    found = {}
    for name in file.files:
        if name == "config.json" or name.startswith("tokenizer.") or name.endswith(".scale"):
            continue
        array = file[name].astype(numpy.float32)
        if f"{name}.scale" in file.files:
            scales = file[f"{name}.scale"].astype(numpy.float32)
            array *= scales.repeat(array.shape[1] // scales.shape[1], 1)
        found[name.replace(".", "/")] = torch.from_numpy(array)
    return found


def main(options):
    """Print the perplexities of a checkpoint over a text."""
    with numpy.load(options.checkpoint) as file:
        sizes = json.loads(file["config.json"])["dimensions"]
        arrays, model = weights(file), file["tokenizer.model"].tobytes()
    args = types.SimpleNamespace(layers=sizes["layers"], heads=sizes["heads"], steps=sizes["context"])
    tokenizer = sentencepiece.SentencePieceProcessor(model_proto=model)
    lines = train_data.read_lines(options.text)
    ids = torch.from_numpy(train_data.encode(tokenizer, lines))
    start = tokenizer.piece_to_id(train_data.END_OF_LINE)
    nats = train_transformer.nats(arrays, args, ids, start, quick=False)
    words = train_data.word_tokens(lines)
    print(f"{words:,} word tokens, {len(ids):,} predictions, {nats:.6f} nats")
    print(f"perplexity per word token {math.exp(nats / words):.6f}, per piece {math.exp(nats / len(ids)):.6f}")


if __name__ == "__main__":
    main(OPTIONS)
