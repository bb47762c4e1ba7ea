"""The shape of the project: direction of imports, tested messages, docstrings, sizes, no path of one machine."""

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
RUNTIME = sorted((ROOT / "lm_meter").rglob("*.py"))
KERNELS = sorted((ROOT / "kernels").glob("*.py"))
SCRIPTS = sorted((ROOT / "scripts").glob("*.py"))
TESTS = sorted((ROOT / "tests").glob("*.py"))
ERRORS = {"LmMeterError", "CheckpointError", "TextError", "ConfigError", "EntryError", "MeterError"}
MAX_LINES = 300
MAX_ARGUMENTS = 6


def name_of(path):
    return str(path.relative_to(ROOT))


def module_of(path):
    """Dotted name under which a file is imported; the folder of kernels is a subpackage of the runtime."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = ("lm_meter", *parts) if parts[0] == "kernels" else parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path, everywhere=True):
    """Names of modules that a file imports; ``everywhere`` also inside functions and for type checking."""
    package = module_of(path).split(".")
    if path.name != "__init__.py":
        package = package[:-1]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree) if everywhere else tree.body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


OURS = {module_of(path): path for path in [*RUNTIME, *KERNELS]}


@pytest.mark.parametrize("path", KERNELS, ids=name_of)
def test_kernels_import_nothing_of_ours_but_kernels(path):
    for name in imports_of(path):
        assert not name.startswith("lm_meter") or name.startswith("lm_meter.kernels"), name


@pytest.mark.parametrize("path", [*RUNTIME, *KERNELS], ids=name_of)
def test_nothing_imports_the_command_line(path):
    """But the file that starts it."""
    if path.name != "__main__.py":
        assert "lm_meter.cli" not in set(imports_of(path))


@pytest.mark.parametrize("path", [path for path in RUNTIME if path.parent.name == "models"], ids=name_of)
def test_models_do_not_know_who_runs_them(path):
    above = {
        f"lm_meter.{name}" for name in ("evaluation", "online", "model", "report", "result", "selftest", "inspection")
    }

    assert not above & set(imports_of(path))


@pytest.mark.parametrize(
    "path",
    [path for path in RUNTIME if path.name in ("errors.py", "profiles.py", "score.py", "text.py", "npz.py")],
    ids=name_of,
)
def test_foundations_import_no_model_and_no_checkpoint(path):
    assert not any(name.startswith(("lm_meter.models", "lm_meter.checkpoint")) for name in imports_of(path))


def test_imports_have_no_cycle():
    """Those that are made when a module is imported; a cycle would make the order of imports matter."""
    graph = {module: set(imports_of(path, everywhere=False)) & set(OURS) - {module} for module, path in OURS.items()}

    TopologicalSorter(graph).prepare()  # raises CycleError, which names the cycle


def raised_messages():
    """Place and constant text of each message that the runtime raises."""
    for path in RUNTIME:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)):
                continue
            if getattr(node.exc.func, "id", None) not in ERRORS:
                continue
            texts = [part.value for arg in node.exc.args for part in ast.walk(arg) if isinstance(part, ast.Constant)]
            clauses = [
                clause.strip(" :;(),.'") for text in texts if isinstance(text, str) for clause in text.split(";")
            ]
            yield f"{name_of(path)}:{node.lineno}", max(clauses, key=len, default="")


@pytest.fixture(scope="module")
def expected_texts():
    """All text that stands in tests, backslashes of patterns removed."""
    strings = [
        node.value
        for path in TESTS
        if path != Path(__file__)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    return "\n".join(strings).replace("\\", "")


@pytest.mark.parametrize(("place", "clause"), [*raised_messages()])
def test_every_message_is_read_by_a_test(place, clause, expected_texts):
    """The longest constant clause of each message stands in some test."""
    assert clause in expected_texts, f"{place}: no test reads {clause!r}"


def undocumented(tree, inside=""):
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            if not ast.get_docstring(node):
                yield inside + node.name
            if isinstance(node, ast.ClassDef):
                yield from undocumented(node, f"{inside}{node.name}.")


@pytest.mark.parametrize("path", [*RUNTIME, *KERNELS, *SCRIPTS], ids=name_of)
def test_modules_and_public_functions_have_docstrings(path):
    """In scripts, the methods that a framework prescribes need none."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    missing = [name for name in undocumented(tree) if path not in SCRIPTS or "." not in name]

    assert ast.get_docstring(tree)
    assert missing == []


@pytest.mark.parametrize("path", [*RUNTIME, *KERNELS, *SCRIPTS], ids=name_of)
def test_no_file_is_a_drawer(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES


def project_files():
    """Every file that belongs to the project; what tools leave behind does not."""
    for top in sorted(ROOT.iterdir()):
        if top.is_file():
            yield top
        elif top.name in (".ci", "lm_meter", "kernels", "scripts", "tests", "checkpoints"):
            yield from (path for path in sorted(top.rglob("*")) if path.is_file() and "__pycache__" not in path.parts)


def test_no_file_names_a_path_of_one_machine():
    """Pieces are joined here, so that this file does not match."""
    pattern = re.compile(
        rb"/(?:" + b"|".join([b"ro" + b"ot", b"wo" + b"rk", b"ho" + b"me/[a-z]+", b"Us" + b"ers"]) + rb")/\w"
    )
    found = {name_of(path) for path in project_files() if pattern.search(path.read_bytes())}

    assert found == set()


@pytest.mark.parametrize("path", [path for path in TESTS if path.name.startswith("test_")], ids=name_of)
def test_tests_say_what_they_test(path):
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("path", [*RUNTIME, *KERNELS], ids=name_of)
def test_functions_take_few_arguments(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef):
            names = [argument.arg for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
            taken = [name for name in names if name not in ("self", "cls")]
            assert len(taken) <= MAX_ARGUMENTS, f"{node.name} takes {', '.join(taken)}"
