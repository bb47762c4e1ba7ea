"""Small tokenizers of each kind as files: all parts that a ``tokenizer.json`` may have, and SentencePiece models."""

import json

_BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": True}
_ADDED = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}


def _replace(what, by):
    return {"type": "Replace", "pattern": {"String": what}, "content": by}


def _model(kind, **fields):
    letters = {chr(n): n for n in range(128)}
    return {"type": kind, "vocab": letters, **fields}


def tokenizer_jsons():
    """Tokenizers as JSON documents."""
    pairs = _model("BPE", merges=[["t", "h"], ["c", "a"]])
    pairs["vocab"] |= {"th": 128, "ca": 129}
    scored = [["<unk>", 0.0], *([chr(n), -float(n % 9)] for n in range(1, 128)), ["▁the", -1.0]]
    padding = {
        "strategy": {"Fixed": 9}, "direction": "Left", "pad_to_multiple_of": 4, "pad_id": 0, "pad_type_id": 0,
        "pad_token": "!",
    }  # fmt: skip
    changes = [
        {"model": pairs, "pre_tokenizer": _BYTES, "decoder": _BYTES, "post_processor": _BYTES},
        {
            "model": {**pairs, "byte_fallback": True, "unk_token": "a", "fuse_unk": True},
            "normalizer": {
                "type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "_"}, _replace(" ", "_")],
            },
            "decoder": {"type": "Sequence", "decoders": [_replace("_", " "), {"type": "Fuse"}]},
            "added_tokens": [{"id": 130, "content": "<s>", **_ADDED}],
        },
        {
            "model": {**pairs, "continuing_subword_prefix": "", "end_of_word_suffix": ""},
            "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFKC"}, {"type": "Lowercase"}]},
            "pre_tokenizer": {
                "type": "Sequence",
                "pretokenizers": [
                    {"type": "Split", "pattern": {"Regex": r"\s+|\w+"}, "behavior": "Isolated", "invert": False},
                    {"type": "Digits", "individual_digits": True},
                    {"type": "FixedLength", "length": 3},
                ],
            },
            "padding": padding,
            "truncation": {"max_length": 5, "strategy": "LongestFirst", "stride": 1, "direction": "Right"},
        },
        {
            "model": _model("WordPiece", unk_token="?", continuing_subword_prefix="##", max_input_chars_per_word=9),
            "normalizer": {
                "type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None,
                "lowercase": True,
            },
            "pre_tokenizer": {"type": "BertPreTokenizer"},
            "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        },
        {"model": _model("WordLevel", unk_token="?"), "pre_tokenizer": {"type": "WhitespaceSplit"}},
        {
            "model": {"type": "Unigram", "unk_id": 0, "vocab": scored, "byte_fallback": False},
            "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
            "decoder": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
        },
    ]  # fmt: skip
    return [{"version": "1.0", **change} for change in changes]


def tokenizer_files():
    """The same as files, and models of SentencePiece."""
    from tiny import sentencepiece_model

    models = [sentencepiece_model(), sentencepiece_model(byte_fallback=False, normalization="nmt_nfkc")]
    return [*(json.dumps(document).encode() for document in tokenizer_jsons()), *models]
