"""The arguments of the commands that write a checkpoint: convert and quantize."""

from __future__ import annotations

import argparse

from . import commands
from .shared_arguments import add_format, command, file_name

# Written out here, not imported: --help must not wait for the modules that define them. A test compares.
WEIGHT_NAMES = ("float32", "float16", "bfloat16", "int8", "int4", "codebook4", "keep")
SOURCE_NAMES = ("llama2c", "gguf", "huggingface", "tensorflow", "word-language-model")


def add_convert(group: argparse._SubParsersAction) -> None:
    """From the model of another program."""
    parser = command(
        group,
        "convert",
        "write the model of another program as a checkpoint, and run it over a few tokens",
        "lm-meter convert stories260K.bin stories.npz --tokenizer tok512.bin",
    )
    parser.add_argument(
        "source",
        type=file_name,
        metavar="SRC",
        help="a model of llama2.c, a GGUF file, a Hugging Face folder, a folder of TensorFlow's dumped BasicLSTMCell "
        "variables, or a PyTorch state dict of the example word_language_model",
    )
    parser.add_argument("out", type=file_name, metavar="OUT.npz")
    parser.add_argument("--from", dest="kind", choices=SOURCE_NAMES, help="its format (default: as it is recognised)")
    parser.add_argument(
        "--tokenizer",
        type=file_name,
        metavar="FILE",
        help="its tokenizer, where that is not beside it; for word_language_model the words, one a line in order of "
        "their numbers",
    )
    parser.add_argument(
        "--start",
        metavar="TOKEN",
        help="the token that stands before a text, or 'none' (default: as the source says)",
    )
    parser.add_argument(
        "--text", type=file_name, metavar="FILE", help="what is run over a few tokens of (default: the sample text)"
    )
    add_format(parser)
    parser.set_defaults(command=commands.run_convert)


def add_quantize(group: argparse._SubParsersAction) -> None:
    """From another checkpoint."""
    parser = command(
        group,
        "quantize",
        "write a checkpoint with narrower, clustered or pruned weights",
        "lm-meter quantize model.npz small.npz --weights int8 --activations 8 --tensor 'lstm.*=int4,group=32'",
    )
    parser.add_argument("checkpoint", type=file_name, metavar="CKPT.npz")
    parser.add_argument("out", type=file_name, metavar="OUT.npz")
    parser.add_argument(
        "--weights", choices=WEIGHT_NAMES, required=True, help="format of the matrices; biases stay as they are"
    )
    parser.add_argument(
        "--activations",
        choices=("8", "16", "32"),
        metavar="BITS",
        help="inputs of their products: 8, 16 or 32 (default)",
    )
    parser.add_argument("--group", metavar="N", help="columns that share a scale (default: a row)")
    parser.add_argument("--offsets", action="store_true", help="an offset for each scale")
    parser.add_argument("--accumulator", metavar="BITS", help="of integer sums, 8-bit activations only (default: 32)")
    parser.add_argument("--overflow", choices=("wrap", "saturate"), help="of an accumulator too narrow for some sums")
    parser.add_argument("--prune", metavar="FRACTION", help="leave out this part of the weights, the smallest ones")
    parser.add_argument("--block", metavar="RxC", help="prune blocks of R rows and C columns (default: 1x1)")
    parser.add_argument(
        "--tensor",
        action="append",
        default=[],
        metavar="PATTERN=SPEC",
        help="for tensors whose name matches this instead of all the above, the last match counts; SPEC: a format or "
        "'keep', then options as above, such as int4,group=64,activations=8,offsets or int8,prune=0.5,block=1x16",
    )
    add_format(parser)
    parser.add_argument("--quiet", action="store_true", help="do not name each tensor on the way")
    parser.set_defaults(command=commands.run_quantize)
