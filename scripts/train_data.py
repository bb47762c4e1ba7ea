"""Text and tokenizer of the default model: word counts, word replacement, SentencePiece."""

import collections
import io

import numpy
import sentencepiece

UNKNOWN = "<unk>"
END_OF_LINE = "<eos>"


def read_lines(path):
    """Return the lines of a WikiText file, each a list of words (only line feeds and spaces separate)."""
    with open(path, encoding="utf-8", newline="\n") as file:
        lines = file.read().split("\n")
    if lines[-1] == "":
        lines.pop()
    return [[word for word in line.split(" ") if word] for line in lines]


def read_counts(path):
    """Return {word: count} of a two-column file; a word may be any character but tab and newline."""
    with open(path, encoding="utf-8", newline="\n") as file:
        rows = (line.split("\t") for line in file.read().split("\n") if line)
        return {word: int(count) for word, count in rows}


def word_tokens(lines):
    """Return the number of words, with one <eos> a line."""
    return sum(len(line) + 1 for line in lines)


def train_tokenizer(counts, pieces, threads):
    """Train a lossless BPE SentencePiece model on word counts and return its bytes.

    Counts of a large text place the pieces better than the small training text could: rare words are
    split into the pieces that the rare words of unseen text need.
    """
    rows = (f"{word}\t{count}" for word, count in counts.items() if word not in (UNKNOWN, END_OF_LINE))
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=rows,
        model_writer=model,
        input_format="tsv",
        model_type="bpe",
        vocab_size=pieces,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        byte_fallback=True,
        character_coverage=0.9998,
        split_by_unicode_script=False,
        split_by_number=False,
        user_defined_symbols=[UNKNOWN, END_OF_LINE],
        unk_piece="<oov>",
        bos_id=-1,
        eos_id=-1,
        pad_id=-1,
        num_threads=threads,
        minloglevel=1,
    )
    return model.getvalue()


def encode(tokenizer, lines):
    """Return the ids of the lines, with <eos> after each."""
    ids, end = [], tokenizer.piece_to_id(END_OF_LINE)
    for line in tokenizer.encode([" ".join(line) for line in lines]):
        ids.extend(line)
        ids.append(end)
    return numpy.array(ids, dtype=numpy.int64)


class Text:
    """Training text that is drawn anew for each epoch, and its encoding.

    The training vocabulary is small, so its text has <unk> where unseen text has a real rare word, and its
    rare words are more frequent in it than anywhere else. Both are put right by replacing words by words
    that the training text never has, drawn in proportion to their counts in the large text:
    <unk> until its rate is `unknown_rate`, and a word seen n times with probability `discount` / n
    (absolute discounting, as in smoothed n-gram models).
    """

    def __init__(self, lines, counts, tokenizer, unknown_rate, discount):
        self.tokenizer = tokenizer
        self.end = tokenizer.piece_to_id(END_OF_LINE)
        self.lengths = [len(line) for line in lines]
        self.words = numpy.array([word for line in lines for word in line], dtype=object)
        seen = collections.Counter(self.words)
        self.replaced = numpy.array([min(1.0, discount / seen[word]) for word in self.words])
        kept = unknown_rate * word_tokens(lines) / seen[UNKNOWN]
        self.replaced[self.words == UNKNOWN] = max(0.0, 1.0 - kept)
        new = [word for word in counts if word not in seen and word != END_OF_LINE]
        self.new_words = numpy.array(new, dtype=object)
        weights = numpy.array([counts[word] for word in new], dtype=float)
        self.new_rates = weights / weights.sum()

    def encode(self, lines):
        """Return the ids of the lines, with <eos> after each."""
        return encode(self.tokenizer, lines)

    def draw(self, seed):
        """Return the ids of the whole training text with freshly drawn words."""
        random = numpy.random.default_rng(seed)
        words = self.words.copy()
        places = numpy.flatnonzero(random.random(len(words)) < self.replaced)
        words[places] = random.choice(self.new_words, len(places), p=self.new_rates)
        ends = numpy.cumsum(self.lengths)
        return self.encode([words[end - length : end] for end, length in zip(ends, self.lengths, strict=True)])
