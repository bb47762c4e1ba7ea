"""Public corpora: found on this machine, or downloaded once and verified."""

from __future__ import annotations

import hashlib
import http.client
import os
import tempfile
import urllib.request
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from . import __version__
from .atomic_file import atomic_file
from .errors import ConfigError, TextError
from .kernels.code_cache import user_cache
from .text import Text, read_text, text_from_bytes

_CHUNK = 1 << 20
_TIMEOUT_SECONDS = 30
_MAX_MEMBER = 64 << 20  # bytes of a split; a real one has 1.3 million


@dataclass(frozen=True)
class Split:
    """One file of a corpus. ``sha256`` decides whether a file is this split, wherever it comes from."""

    file: str
    member: str
    sha256: str


@dataclass(frozen=True)
class Corpus:
    """A corpus and the public archive it comes in."""

    name: str
    url: str
    splits: Mapping[str, Split]


# Merity, Xiong, Bradbury and Socher, Pointer Sentinel Mixture Models (2016). The archive's first home, a storage bucket
# of the authors' company, has been closed since 2024; this is the copy of its first author.
WIKITEXT_103 = Corpus(
    "wikitext-103",
    "https://wikitext.smerity.com/wikitext-103-v1.zip",
    {
        "test": Split(
            "wiki.test.tokens",
            "wikitext-103/wiki.test.tokens",
            "56db52eb157b1ab5c89646eef70510c1eca6e12a3bfdb99f0d6b05b4eacb75b9",
        ),
        "valid": Split(
            "wiki.valid.tokens",
            "wikitext-103/wiki.valid.tokens",
            "9aee9f52d6e77de6c7751fc5e7c44287db3ec0eaf15477098acc6b93c1c4250b",
        ),
    },
)
CORPORA = {WIKITEXT_103.name: WIKITEXT_103}


def corpus_folders(corpus: Corpus) -> list[Path]:
    """Folders where a corpus is looked for: below ``$LM_METER_DATA`` if that is set, then in the user's cache.

    A user without a home has no cache.
    """
    folders = []
    if os.environ.get("LM_METER_DATA"):
        folders.append(Path(os.environ["LM_METER_DATA"]) / corpus.name)
    try:
        return [*folders, user_cache() / corpus.name]
    except RuntimeError:
        return folders


def find_split(corpus: Corpus, split: str) -> Text | None:
    """A split that is on this machine, verified; None where there is none."""
    wanted = _split(corpus, split)
    for folder in corpus_folders(corpus):
        path = folder / wanted.file
        try:
            found = _sha256(path) if path.is_file() else None
        except OSError as error:
            raise TextError(
                f"{path}: cannot be read ({error.strerror}); make it readable, or set LM_METER_DATA or "
                "XDG_CACHE_HOME to another folder"
            ) from None
        if found == wanted.sha256:
            return read_text(path, f"{corpus.name}/{split}")
        if found is not None:
            raise TextError(
                f"{path}: is not the {split} split of {corpus.name}: SHA-256 {found[:12]}..., expected "
                f"{wanted.sha256[:12]}...; replace it, or evaluate it as --text {path}"
            )
    return None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_split(corpus: Corpus, split: str, progress: bool = False) -> Text:
    """A split, from this machine or from the public archive.

    Raises
    ------
    TextError
        Where the archive cannot be fetched or is not the expected one; the message says which file to put where.
    """
    text = find_split(corpus, split)
    if text is not None:
        return text
    contents = _download(corpus, progress)
    return text_from_bytes(contents[split], f"{corpus.name}/{split}")


def corpus(name: str, split: str = "test", progress: bool = False) -> Text:
    """The split of a corpus by name: ``corpus("wikitext-103", "test")``. See ``load_split``."""
    if name not in CORPORA:
        raise ConfigError(f"corpus is {name!r:.60}; expected one of {', '.join(CORPORA)}")
    return load_split(CORPORA[name], split, progress)


def _split(corpus: Corpus, split: str) -> Split:
    if split not in corpus.splits:
        raise ConfigError(f"split is {split!r:.60}; {corpus.name} has {', '.join(corpus.splits)}")
    return corpus.splits[split]


def _download(corpus: Corpus, progress: bool) -> dict[str, bytes]:
    """Fetch the archive, keep the verified splits in the last of the corpus's folders and return them by name."""
    folders = corpus_folders(corpus)
    if not folders:
        raise TextError(f"{corpus.name}: there is no home folder to keep it in; set LM_METER_DATA or XDG_CACHE_HOME")
    folder = folders[-1]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed below, after another kind of error
    except OSError as error:
        raise TextError(
            f"{folder}: cannot be written ({error.strerror}), so {corpus.name} cannot be kept there; set "
            "XDG_CACHE_HOME to another folder"
        ) from None
    try:
        with file as archive:
            _fetch(corpus.url, archive, progress)
            return _extract(corpus, archive, folder)
    except (OSError, http.client.HTTPException) as error:  # urllib's own errors are OSErrors
        reason = " ".join(str(getattr(error, "reason", None) or error).split())
        files = " and ".join(split.file for split in corpus.splits.values())
        raise TextError(
            f"{corpus.url}: cannot be downloaded ({reason}); put {files} into {folder} (or into "
            f"$LM_METER_DATA/{corpus.name}) and run again"
        ) from None


def _fetch(url: str, archive: IO[bytes], progress: bool) -> None:
    from tqdm import tqdm

    # Some servers refuse the name that Python gives itself.
    request = urllib.request.Request(url, headers={"User-Agent": f"lm-meter/{__version__}"})
    with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as response:
        length = response.headers.get("Content-Length") or ""
        size = int(length) if length.isdecimal() else 0
        bar = tqdm(total=size or None, unit="B", unit_scale=True, desc="download", disable=not progress)
        with bar:
            received = 0
            while chunk := response.read(_CHUNK):
                archive.write(chunk)
                received += len(chunk)
                bar.update(len(chunk))
    if size and received != size:
        raise TextError(f"{url}: the connection ended after {received} of {size} bytes; run the command again")


def _extract(corpus: Corpus, archive: IO[bytes], folder: Path) -> dict[str, bytes]:
    """Keep the splits: all of them, or none if one is not what it should be."""
    try:
        with zipfile.ZipFile(archive) as members:
            contents = {name: _verified(corpus, members, split) for name, split in corpus.splits.items()}
    except (zipfile.BadZipFile, KeyError, zlib.error, EOFError, RuntimeError) as error:
        raise TextError(f"{corpus.url}: is not the expected archive ({error}); nothing was kept") from None
    for name, raw in contents.items():
        with atomic_file(folder / corpus.splits[name].file) as file:
            file.write(raw)
    return contents


def _verified(corpus: Corpus, members: zipfile.ZipFile, split: Split) -> bytes:
    """Content of one split, compared with its checksum."""
    info = members.getinfo(split.member)
    if info.file_size > _MAX_MEMBER:
        raise TextError(f"{corpus.url}: {split.member} has {info.file_size} bytes; expected at most {_MAX_MEMBER}")
    raw = members.read(info)
    found = hashlib.sha256(raw).hexdigest()
    if found != split.sha256:
        raise TextError(
            f"{corpus.url}: {split.member} has SHA-256 {found[:12]}..., expected {split.sha256[:12]}...; "
            "the archive is damaged or another one; nothing was kept"
        )
    return raw
