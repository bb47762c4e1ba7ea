"""The page of ``lm-meter report`` in a real browser: shown whole, silent, without any request, on any screen."""

import json

import pytest
from chromium import PROGRAM, Chromium
from report_files import HOSTILE, HOSTILE_WORDS, records_file, result_file

from lm_meter import cli

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="no Chromium here: pages are not looked at")


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Pages of one result, of several, and of a stranger's."""
    folder = tmp_path_factory.mktemp("pages")
    first, result = result_file(folder, "first.json")
    second, _ = result_file(folder, "second-with-a-name-that-is-far-too-long-for-a-narrow-screen.json", hidden=(40,))
    hostile, strange = result_file(folder, "hostile.json", HOSTILE.replace("/", "\u2215"), words=HOSTILE_WORDS)
    records, strange_records = records_file(folder, result), records_file(folder, strange, "strange.npz")
    strangers = [folder / f"folder-of-entrant-{number}" / "validation.json" for number in range(3)]
    for file, cause in zip(strangers, ("partial", "whole", "replaced"), strict=True):
        document = json.loads(first.read_text(encoding="utf-8"))
        document["partial"], document["text"]["whole"] = cause == "partial", False
        document["text"]["replaced_by_unk"] = 1234 * (cause == "replaced")
        document["text"]["name"] = "a-text-of-a-long-name/wiki.test.tokens"
        document["online"]["softmax_bins"] = "needed"
        claims = [{"name": "score", "claimed": 1e-5, "tolerance": 0.01}]
        document = {"schema": "lm-meter/validation/1", "entry": "entry.toml", "claims": claims, "regions": [],
                    "tensors": [], "result": document}  # fmt: skip
        file.parent.mkdir()
        file.write_text(json.dumps(document), encoding="utf-8")
    made = {
        "validations": [str(file) for file in strangers],
        "one": [str(first), "--records", str(records)],
        "several": [str(first), str(second)],
        "hostile": [str(hostile), "--records", str(strange_records)],
    }
    for name, arguments in made.items():
        assert cli.main(["report", *arguments, "--html", str(folder / f"{name}.html")]) == 0
    return {name: folder / f"{name}.html" for name in made}


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    found = Chromium(tmp_path_factory.mktemp("profile"))
    yield found
    found.close()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [400, 1200])
@pytest.mark.parametrize("name", ["one", "several", "hostile"])
def test_a_page_is_silent_asks_for_nothing_and_is_no_wider_than_the_screen(name, width, dark, browser, pages):
    browser.open(pages[name].as_uri(), width, dark)
    # Everything open: what is folded must not be wider either.
    browser.evaluate("document.querySelectorAll('details').forEach(details => details.open = true)")

    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    asked = [event["request"]["url"] for event in browser.happened("Network.requestWillBeSent")]
    assert [url for url in asked if not url.startswith("data:")] == [pages[name].as_uri()]
    assert browser.happened("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded") == []
    text = browser.evaluate("document.body.innerText")
    for words in ("Operations by region", "y = W x + b", "follow from the formulas", "Parameter storage by tensor"):
        assert words in text
    # The style is there though the page's policy forbids all but this one.
    background = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(20, 23, 27)" if dark else "rgb(255, 255, 255)")


_CUT_OFF = """[...document.querySelectorAll('.wide')].filter(wide => {
    const table = wide.querySelector('table').getBoundingClientRect();
    const page = document.documentElement.clientWidth;
    return table.width && (wide.scrollWidth > wide.clientWidth + 1 || table.right > page);
}).map(wide => wide.querySelector('caption').textContent)"""


@pytest.mark.parametrize("name", ["one", "several", "validations"])
def test_no_table_needs_scrolling_on_a_wide_screen(name, browser, pages):
    browser.open(pages[name].as_uri(), 1600)
    browser.evaluate("document.querySelectorAll('details').forEach(details => details.open = true)")
    assert browser.evaluate(_CUT_OFF) == []


@pytest.mark.parametrize("name", ["one", "several", "validations"])
def test_no_column_is_lost_in_print(name, browser, pages):
    """On A4 (210 mm wide) between margins of 12 mm each: 186 mm, at 96 pixels for 25.4 mm."""
    browser.open(pages[name].as_uri(), round(186 / 25.4 * 96))
    browser.call("Emulation.setEmulatedMedia", media="print")
    browser.evaluate("document.querySelectorAll('details').forEach(details => details.open = true)")
    cut_off = browser.evaluate(_CUT_OFF)
    overhang = browser.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    browser.call("Emulation.setEmulatedMedia", media="")
    assert (cut_off, overhang) == ([], 0)


def test_nothing_of_a_strangers_names_is_markup(browser, pages):
    browser.open(pages["hostile"].as_uri(), 1200)
    assert browser.evaluate("document.scripts.length") == 0
    assert browser.evaluate("document.querySelectorAll('style').length") == 1
    text = browser.evaluate("document.body.textContent")
    assert "<script>alert(1)<\u2215script>\"'`|&\ufffd\ufffd.npz" in text


def test_the_policy_stops_what_a_page_must_not_do(browser, pages, tmp_path):
    """The same page with a script, a foreign style and a picture put into it by hand."""
    page = pages["one"].read_text(encoding="utf-8")
    broken = '<script>document.title="ran"</script><style>body{color:red}</style><img src="http://localhost:1/x.png">'
    (tmp_path / "broken.html").write_text(page.replace("<main>", f"<main>{broken}"), encoding="utf-8")
    browser.open((tmp_path / "broken.html").as_uri(), 1200)
    assert browser.evaluate("document.title") == "Report of first.json"
    assert browser.evaluate("getComputedStyle(document.body).color") == "rgb(27, 31, 36)"
    blocked = [event.get("blockedReason") for event in browser.happened("Network.loadingFailed")]
    assert blocked == ["csp"]


@pytest.mark.parametrize("width", [400, 1200])
def test_no_words_of_a_drawing_leave_it_or_lie_on_others(width, browser, pages):
    for name in ("one", "several", "hostile"):
        browser.open(pages[name].as_uri(), width)
        found = browser.evaluate(
            """[...document.querySelectorAll('figure > svg')].flatMap(svg => {
                const outer = svg.getBoundingClientRect();
                const texts = [...svg.querySelectorAll('text')].map(t => [t.textContent, t.getBoundingClientRect()]);
                const out = texts.filter(([, r]) => r.left < outer.left - 1 || r.right > outer.right + 1
                    || r.top < outer.top - 1 || r.bottom > outer.bottom + 1).map(([t]) => 'outside: ' + t);
                // Boxes of letters are higher than the letters: only what crosses by more than that counts.
                texts.forEach(([a, r], i) => texts.slice(i + 1).forEach(([b, s]) => {
                    const x = Math.min(r.right, s.right) - Math.max(r.left, s.left);
                    const y = Math.min(r.bottom, s.bottom) - Math.max(r.top, s.top);
                    if (x > 1 && y > 5) out.push(`${a} on ${b}`);
                }));
                return out;
            })"""
        )
        assert found == [], name


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_words_and_marks_stand_out_from_the_page(dark, browser, pages):
    """Contrast as WCAG 2.2 reckons it: 4.5 for words, 3 for marks."""
    browser.open(pages["one"].as_uri(), 1200, dark)

    def contrast(ink, paper):
        def light(colour):
            parts = [n / 255 for n in colour]
            parts = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
            return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

        darker, lighter = sorted((light(ink), light(paper)))
        return (lighter + 0.05) / (darker + 0.05)

    def colour(name):
        browser.evaluate(f"document.body.style.setProperty('outline-color', 'var(--{name})')")
        value = browser.evaluate("getComputedStyle(document.body).outlineColor")
        return [int(part) for part in value.removeprefix("rgb(").removesuffix(")").split(",")]

    card = colour("card")
    for name in ("ink", "soft", "link"):
        assert contrast(colour(name), card) >= 4.5, name
    for name in ("c1", "c2", "multiply", "add", "divide", "transcendental", "compare", "bitwise", "convert", "front"):
        assert contrast(colour(name), card) >= 3, name
