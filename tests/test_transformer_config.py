"""Configurations of transformers: what is refused, with its message."""

import pytest
from tiny_transformer import transformer_config

from lm_meter import CheckpointError
from lm_meter.models.transformer_config import parse_transformer_config


def _refused(kind, *path_and_value):
    """The message of a configuration in which one entry is changed, or left out where the value is ``...``."""
    config, _, _ = transformer_config(kind)
    *path, value = path_and_value
    section = config
    for key in path[:-1]:
        section[key] = dict(section[key])
        section = section[key]
    if value is ...:
        del section[path[-1]]
    else:
        section[path[-1]] = value
    with pytest.raises(CheckpointError) as caught:
        parse_transformer_config(config, "m.npz")
    return str(caught.value).removeprefix("m.npz: ")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("dimensions", "width", 0), "dimensions.width is 0; expected a whole number from 1 to 16777216"),
        (("dimensions", "layers", 513), "dimensions.layers is 513; expected a whole number from 1 to 512"),
        (("dimensions", "heads", ...), "config.json has no dimensions.heads; see checkpoints/README.md"),
        (("dimensions", "key_value_heads", 3), "4 heads share 3 keys and values; expected a divisor of 4"),
        (("norm", "batch"), "norm is 'batch'; expected a JSON object"),
        (("norm", "kind", "batch"), "norm.kind is 'batch'; expected one of root_mean_square, layer"),
        (("norm", "final", 1), "norm.final is 1; expected true or false"),
        (("norm", "epsilon", 0), "norm.epsilon is 0; expected a number above 0, up to 1"),
        (("norm", "epsilon", float("nan")), "norm.epsilon is nan; expected a number above 0, up to 1"),
        (
            ("attention", "windoww", 5),
            "attention.windoww is not known here, but may matter; known are scale, window, pattern, groups",
        ),
        (
            ("feed_forward", "expert", {}),
            "feed_forward.expert is not known here, but may matter; known are activation, gated, experts, groups",
        ),
        (
            ("adaptive", {"soft_max": {}}),
            "adaptive.soft_max is not known here, but may matter; known are embedding, softmax, tied_projections",
        ),
        (
            ("continous_cache", None),
            "continous_cache is not known here, but may matter; known are format, version, architecture, "
            "dimensions, tied, adaptive, "
            "continuous_cache, bias, formats, tokenizer, origin, positions, norm, attention, feed_forward, embedding",
        ),
        (
            ("positions", "first", 1),
            "positions.first is not known here, but may matter; known are kind, pairs, base, rotated",
        ),
        (
            ("positions", {"kind": "relative", "perhead": True}),
            "positions.perhead is not known here, but may matter; known are kind, per_head",
        ),
        (("attention", "scale", True), "attention.scale is True; expected a number above 0, up to 1e+06"),
        (
            ("positions", "kind", "alibi"),
            "positions.kind is 'alibi'; expected one of none, learned, sinusoidal, rotary, relative, transformer_xl",
        ),
        (
            ("positions", "rotated", 8),
            "positions.rotated is 8; expected an even number up to the head width 6",
        ),
        (
            ("positions", {"kind": "relative"}),
            "positions.kind is relative, but attention.window is null; expected the farthest distance",
        ),
        (
            ("attention", "groups", {"gate": 2}),
            "attention.groups.gate is not known here, but may matter; known are query, key, value, output",
        ),
        (
            ("attention", "groups", {"query": 0}),
            "attention.groups.query is 0; expected a whole number from 1 to 16777216",
        ),
        (
            ("feed_forward", "groups", {"output": 3}),
            "feed_forward.groups.output is 3; expected a divisor of its 24 outputs and 20 inputs",
        ),
        (("feed_forward", "experts", 4), "feed_forward.experts is 4; expected a JSON object"),
        (
            ("feed_forward", "experts", {"count": 4, "used": 5, "normalised": True, "bias": False}),
            "feed_forward.experts.used is 5, but there are 4 experts; expected at most as many",
        ),
        (
            ("feed_forward", "experts", {"count": 4, "used": 2, "bias": False}),
            "config.json has no feed_forward.experts.normalised; see checkpoints/README.md",
        ),
        (
            ("positions", {"kind": "learned", "count": 8}),
            "dimensions.context is 9, but there are 8 learned positions; expected at most as many",
        ),
        (
            ("positions", {"kind": "sinusoidal", "base": 0}),
            "positions.base is 0; expected a number above 1, up to 1e+09",
        ),
        (
            ("positions", {"kind": "transformer_xl", "shared_biases": 1}),
            "positions.shared_biases is 1; expected true or false",
        ),
        (("positions", {"kind": "relative", "per_head": "yes"}), "positions.per_head is 'yes'; expected true or false"),
        (("attention", "pattern", "strided"), "attention.pattern is 'strided'; expected a JSON object"),
        (
            ("attention", "pattern", {"kind": "random"}),
            "attention.pattern.kind is 'random'; expected one of strided, fixed, local_global",
        ),
        (
            ("attention", "pattern", {"kind": "strided", "local": -1, "stride": 2}),
            "attention.pattern.local is -1; expected a whole number from 0 to 1048576",
        ),
        (
            ("attention", "pattern", [None, {"kind": "fixed", "stride": 3, "summary": 4}]),
            "attention.pattern[1].summary is 4; expected a whole number from 1 to 3",
        ),
        (("attention", "pattern", [None, 1]), "attention.pattern is [None, 1]; expected a list of JSON objects"),
        (("attention", "pattern", [None]), "attention.pattern has 1 entries; expected one for each of 2 layers"),
    ],
)
def test_a_configuration_that_makes_no_sense(change, message):
    assert _refused("llama", *change) == message


@pytest.mark.parametrize("kind", ["sinusoidal", "transformer-xl"])
@pytest.mark.parametrize("width", [2, 21])
def test_a_width_that_sinusoids_cannot_fill(kind, width):
    message = _refused(kind, "dimensions", "width", width)
    assert message == f"dimensions.width is {width}; expected an even number from 4 on for sinusoids"


@pytest.mark.parametrize("kind", ["per head", "transformer-xl"])
def test_global_positions_have_no_vector_of_their_distance(kind):
    positions = {"per head": "relative", "transformer-xl": "transformer_xl"}[kind]
    message = _refused(kind, "attention", {"window": 5, "pattern": {"kind": "local_global", "local": 1, "global": 1}})
    assert message == (
        f"attention.pattern is local_global, but positions.kind is {positions}; a global position can be farther away "
        "than vectors of distances reach: choose other positions or another pattern"
    )
