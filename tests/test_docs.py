"""Nothing is shown that does not run: docstring examples, pages, commands, links."""

import doctest
import importlib
import inspect
import pkgutil
import re
import shlex
import textwrap
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_kd

ROOT = Path(__file__).resolve().parents[1]
TUTORIALS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES = [*TUTORIALS, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]

# What an example may use without importing it.
EXAMPLE_NAMES = {
    "__name__": "__main__",
    "keras": keras,
    "keras_kd": keras_kd,
    "np": np,
}

CODE_BLOCK = re.compile(
    r"^(?:<!-- not run: (?P<reason>[^\n]+?) -->\n+)?"
    r"^(?P<indent> *)```(?P<language>\w*)[^\n]*\n(?P<code>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
INLINE_CODE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)\s]+)[^)]*\)|(?:src|href)=\"([^\"]+)\"")
TARGET = re.compile(r"^([a-z][\w-]*):(?!=)", re.MULTILINE)


def modules():
    names = [m.name for m in pkgutil.walk_packages(keras_kd.__path__, "keras_kd.")]
    return [keras_kd, *map(importlib.import_module, names)]


def examples():
    """`{object: doctest.DocTest}` of every docstring with a `>>>` in the package."""
    finder = doctest.DocTestFinder()
    tests = [test for module in modules() for test in finder.find(module)]
    return {test.name: test for test in tests if test.examples}


def public_objects():
    """Full names of the classes and functions in the `__all__` of any package."""
    found = [
        getattr(module, name)
        for module in modules()
        for name in getattr(module, "__all__", [])
    ]
    return sorted(
        {
            f"{value.__module__}.{value.__qualname__}"
            for value in found
            if inspect.isclass(value) or inspect.isfunction(value)
        }
    )


EXAMPLES = examples()


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_docstring_example_runs(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    test = EXAMPLES[name]
    test.globs = dict(EXAMPLE_NAMES)
    report = []
    doctest.DocTestRunner(
        optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE, verbose=False
    ).run(test, out=report.append)
    if report:
        pytest.fail("".join(report), pytrace=False)


def test_public_objects_have_an_example():
    # One in a method counts for its class.
    shown = {f"{name}." for name in EXAMPLES}
    found = public_objects()
    assert len(found) > 100
    assert [n for n in found if not any(e.startswith(f"{n}.") for e in shown)] == []


@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.name)
def test_python_of_page_runs(page, tmp_path, monkeypatch):
    """All blocks of a page in order, in one namespace, from an empty folder."""
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "__main__"}
    for line, code in python_blocks(read(page)):
        # With the page's own name and line numbers in a traceback.
        exec(compile("\n" * (line - 1) + code, page, "exec"), namespace)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_make_commands_of_page_exist(page):
    targets = make_targets(read(ROOT / "Makefile"))
    assert make_goals(read(page)) - targets == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_of_page_lead_somewhere(page):
    assert [p for p in linked_paths(read(page)) if not (page.parent / p).exists()] == []


def read(page):
    assert page.exists(), f"{page.relative_to(ROOT)} does not exist"
    return page.read_text(encoding="utf-8")


def python_blocks(text):
    """`(line number, code)` of the Python blocks that are to run."""
    found = []
    for block in CODE_BLOCK.finditer(text):
        if block["language"] in ("python", "py") and not block["reason"]:
            line = text.count("\n", 0, block.start("code")) + 1
            found.append((line, textwrap.dedent(block["code"])))
    return found


def make_goals(text):
    """Targets of every `make ...` in inline code and in blocks of other languages."""
    blocks = [b["code"] for b in CODE_BLOCK.finditer(text) if b["language"] != "python"]
    lines = [line for code in blocks for line in code.splitlines()]
    lines += INLINE_CODE.findall(CODE_BLOCK.sub("", text))
    goals = set()
    for part in (part.strip() for line in lines for part in re.split("&&|;", line)):
        if part.removeprefix("$ ").startswith("make "):
            words = shlex.split(part.removeprefix("$ "), comments=True)[1:]
            goals.update(w for w in words if "=" not in w and not w.startswith("-"))
    return goals


def make_targets(makefile):
    return set(TARGET.findall(makefile))


def linked_paths(text):
    """Paths of links and images that stay in the repository."""
    links = [a or b for a, b in LINK.findall(CODE_BLOCK.sub("", text))]
    inside = [link for link in links if not re.match(r"[a-z]+:|#", link)]
    return [link.partition("#")[0] for link in inside]


# The readers themselves, on a small page.

PAGE = """\
# Title

See [the guide](docs/guide.md#start), [the web](https://keras.io), [below](#title),
`make test` and ![a curve](curve.png "A curve").

```python
x = 1
```

<!-- not run: needs a GPU -->
```python
raise RuntimeError
```

```sh
$ make demo ARGS="--dataset mnist"   # a comment
cd there && make -j2 lint bench
```

1. In a list:

   ```python
   if x:
       y = x
   ```
"""


def test_blocks_of_a_page_are_read_in_order():
    assert python_blocks(PAGE) == [(7, "x = 1\n"), (23, "if x:\n    y = x\n")]


def test_commands_and_links_of_a_page_are_read():
    assert make_goals(PAGE) == {"bench", "demo", "lint", "test"}
    assert linked_paths(PAGE) == ["docs/guide.md", "curve.png"]


def test_targets_of_a_makefile_are_read():
    assert make_targets("VAR := 1\na-b: c  ## help\n\tdo: it\n.PHONY: x\n") == {"a-b"}
