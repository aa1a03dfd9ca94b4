"""Numbers in README.md are those of the recorded runs."""

import importlib.util
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def tables():
    spec = importlib.util.spec_from_file_location("tables", ROOT / "docs/tables.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_tables_of_readme_are_those_of_the_records():
    text = (ROOT / "README.md").read_text()
    assert tables().with_tables(text) == text, "run python docs/tables.py"


def test_tables_replace_what_stands_between_their_marks():
    text = "a\n<!-- speed: x -->\nold\n<!-- end of speed -->\nb"
    written = tables().with_tables(text)
    assert "old" not in written
    assert written.startswith("a\n<!-- speed: x -->\n| what |")
    assert written.endswith("<!-- end of speed -->\nb")
