"""Corpora: found on the machine, or downloaded once and verified; a local server stands in for the public archive."""

import hashlib
import http.server
import io
import socket
import threading
import zipfile

import pytest

import lm_meter
from lm_meter import ConfigError, TextError, corpus
from lm_meter.corpora import WIKITEXT_103, Corpus, Split, corpus_folders, find_split, load_split

TEST, VALID = b" = a test = \n the cat sat \n", b"the dog\n"


def zipped(**members):
    """A zip archive of the two splits; ``members`` replace or (None) remove one."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in ({"test": TEST, "valid": VALID} | members).items():
            if content is not None:
                archive.writestr(f"little/{name}.tokens", content)
    return out.getvalue()


def little(url):
    """A corpus of two short splits at ``url``."""
    splits = {
        name: Split(f"{name}.tokens", f"little/{name}.tokens", hashlib.sha256(content).hexdigest())
        for name, content in (("test", TEST), ("valid", VALID))
    }
    return Corpus("little", url, splits)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """The folder of downloaded corpora; nothing of the user's own is seen or touched."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("LM_METER_DATA", raising=False)
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "cache" / "lm-meter" / "little"


@pytest.fixture
def serve():
    """Serves one body on this machine and gives its URL; ``requests`` lists what was asked for."""
    servers = []
    agents = []

    def start(body, length=None):
        class Handler(http.server.BaseHTTPRequestHandler):
            requests = []

            def do_GET(self):
                self.requests.append(self.path)
                agents.append(self.headers["User-Agent"])
                if body is None:
                    self.send_error(404)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(length or len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/little.zip", Handler.requests

    start.agents = agents
    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def refusal(corpus, cache, split="test"):
    """Message with which a download fails, after which nothing lies in the cache."""
    with pytest.raises(TextError) as caught:
        load_split(corpus, split)
    assert "\n" not in str(caught.value)
    assert not cache.exists() or not list(cache.iterdir())
    return str(caught.value)


def test_a_corpus_is_downloaded_once(serve, cache):
    url, requests = serve(zipped())

    first = load_split(little(url), "test")
    second = load_split(little(url), "valid")
    third = load_split(little(url), "test")

    assert (first.content, second.content) == (TEST.decode(), VALID.decode())
    assert first.name == "little/test"
    assert third == first
    assert requests == ["/little.zip"]
    assert serve.agents == [f"lm-meter/{lm_meter.__version__}"]  # some servers refuse Python's own
    assert sorted(path.name for path in cache.iterdir()) == ["test.tokens", "valid.tokens"]


def test_the_download_shows_a_bar_on_stderr_where_it_is_wanted(serve, capsys):
    load_split(little(serve(zipped())[0]), "test", progress=True)

    printed = capsys.readouterr()
    assert "download" in printed.err
    assert printed.out == ""


def test_the_download_is_silent_otherwise(serve, capsys):
    load_split(little(serve(zipped())[0]), "test")

    assert capsys.readouterr() == ("", "")


def test_lm_meter_data_is_looked_at_first(tmp_path, cache, monkeypatch):
    monkeypatch.setenv("LM_METER_DATA", str(tmp_path / "data"))
    (tmp_path / "data" / "little").mkdir(parents=True)
    (tmp_path / "data" / "little" / "test.tokens").write_bytes(TEST)
    wanted = little("http://127.0.0.1:9/not asked")

    assert corpus_folders(wanted) == [tmp_path / "data" / "little", cache]
    assert load_split(wanted, "test").content == TEST.decode()


def test_without_either_variable_it_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))

    assert corpus_folders(WIKITEXT_103) == [tmp_path / ".cache" / "lm-meter" / "wikitext-103"]


def test_a_split_that_is_nowhere_is_not_found():
    assert find_split(WIKITEXT_103, "test") is None


def test_another_text_under_a_splits_name(cache):
    cache.mkdir(parents=True)
    (cache / "test.tokens").write_bytes(b"another text")
    found, expected = hashlib.sha256(b"another text").hexdigest()[:12], hashlib.sha256(TEST).hexdigest()[:12]

    with pytest.raises(TextError) as caught:
        load_split(little("http://127.0.0.1:9/not asked"), "test")

    path = cache / "test.tokens"
    assert str(caught.value) == (
        f"{path}: is not the test split of little: SHA-256 {found}..., expected {expected}...; "
        f"replace it, or evaluate it as --text {path}"
    )


def test_off_line_the_message_says_which_file_to_put_where(cache):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/little.zip"  # bound, not listening: refused

        message = refusal(little(url), cache)

    assert message.startswith(f"{url}: cannot be downloaded (")
    assert "refused" in message
    assert message.endswith(
        f"; put test.tokens and valid.tokens into {cache} (or into $LM_METER_DATA/little) and run again"
    )


def test_a_missing_archive(serve, cache):
    url, _ = serve(None)

    assert refusal(little(url), cache).startswith(f"{url}: cannot be downloaded (Not Found); put test.tokens and")


def test_a_transfer_that_ends_early(serve, cache):
    body = zipped()
    url, _ = serve(body[:100], length=len(body))

    message = refusal(little(url), cache)

    assert message == f"{url}: the connection ended after 100 of {len(body)} bytes; run the command again"


def test_a_server_that_does_not_speak_http(cache):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer():
            connection, _ = server.accept()
            connection.recv(1000)
            connection.sendall(b"what?\r\n\r\n")
            connection.close()

        thread = threading.Thread(target=answer)
        thread.start()
        message = refusal(little(f"http://127.0.0.1:{server.getsockname()[1]}/little.zip"), cache)
        thread.join()

    assert "cannot be downloaded (" in message


@pytest.mark.parametrize("body", [b"<html>Please log in</html>", zipped()[:-30]], ids=["page", "cut"])
def test_what_is_no_zip_archive(body, serve, cache):
    url, _ = serve(body)

    message = refusal(little(url), cache)

    assert message.startswith(f"{url}: is not the expected archive (")
    assert message.endswith("); nothing was kept")


@pytest.mark.parametrize("offset", [60, -60])
def test_a_damaged_archive(offset, serve, cache):
    body = bytearray(zipped(test=TEST * 40))
    body[offset] ^= 0xFF
    url, _ = serve(bytes(body))

    assert refusal(little(url), cache).endswith("nothing was kept")


def test_an_archive_without_the_split(serve, cache):
    url, _ = serve(zipped(test=None))

    message = refusal(little(url), cache)

    assert message.startswith(f"{url}: is not the expected archive (")
    assert "no item named 'little/test.tokens'" in message


@pytest.mark.parametrize("changed", ["test", "valid"])
def test_an_archive_with_another_text(changed, serve, cache):
    """Neither split is kept, not even the one that is right."""
    url, _ = serve(zipped(**{changed: b"another text"}))
    found = hashlib.sha256(b"another text").hexdigest()[:12]
    expected = hashlib.sha256({"test": TEST, "valid": VALID}[changed]).hexdigest()[:12]

    assert refusal(little(url), cache) == (
        f"{url}: little/{changed}.tokens has SHA-256 {found}..., expected {expected}...; "
        "the archive is damaged or another one; nothing was kept"
    )


def test_an_archive_that_would_fill_the_memory(serve, cache):
    """64 MiB of zeros compress to 64 kB."""
    url, _ = serve(zipped(test=bytes((64 << 20) + 1)))

    message = refusal(little(url), cache)

    assert message == f"{url}: little/test.tokens has {(64 << 20) + 1} bytes; expected at most {64 << 20}"


def test_a_cache_that_cannot_be_written(serve, tmp_path):
    (tmp_path / "cache").write_text("a file where the folder should be")
    url, requests = serve(zipped())

    with pytest.raises(TextError) as caught:
        load_split(little(url), "test")

    assert str(caught.value) == (
        f"{tmp_path / 'cache' / 'lm-meter' / 'little'}: cannot be written (Not a directory), so little cannot be kept "
        "there; set XDG_CACHE_HOME to another folder"
    )
    assert requests == []  # found before the download


def test_an_unknown_corpus():
    with pytest.raises(ConfigError, match=r"^corpus is 'ptb'; expected one of wikitext-103$"):
        corpus("ptb")


def test_an_unknown_split():
    with pytest.raises(ConfigError, match=r"^split is 'train'; wikitext-103 has test, valid$"):
        corpus("wikitext-103", "train")


def test_a_split_that_cannot_be_read(cache, monkeypatch):
    """The superuser may read anything, so the system's answer is made up."""

    def denied(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.is_file", denied)
    with pytest.raises(TextError) as caught:
        find_split(little("http://127.0.0.1:9/not asked"), "test")
    assert str(caught.value) == (
        f"{cache / 'test.tokens'}: cannot be read (Permission denied); make it readable, or set LM_METER_DATA or "
        "XDG_CACHE_HOME to another folder"
    )


def test_a_user_without_a_home(monkeypatch):
    def none():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr("pathlib.Path.home", none)
    wanted = little("http://127.0.0.1:9/not asked")
    assert corpus_folders(wanted) == []
    assert find_split(wanted, "test") is None
    with pytest.raises(TextError) as caught:
        load_split(wanted, "test")
    assert str(caught.value) == "little: there is no home folder to keep it in; set LM_METER_DATA or XDG_CACHE_HOME"


@pytest.mark.parametrize(("split", "tokens"), [("test", 245_569), ("valid", 217_646)])
def test_wikitext_103_is_recognised(split, tokens, shared_data, monkeypatch):
    """The checksums of the public archive's files are those of the shared data."""
    monkeypatch.setenv("LM_METER_DATA", str(shared_data))

    assert corpus("wikitext-103", split).word_tokens == tokens
