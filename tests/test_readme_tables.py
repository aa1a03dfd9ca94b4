"""Numbers in README.md are those of the recorded runs."""

import importlib.util
import inspect
from pathlib import Path

from keras_kd.data import LabelStore
from keras_kd.distiller import small_arrays
from keras_kd.teacher_ensemble import constant_weights

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


def test_limits_in_the_text_are_those_of_the_code():
    text = " ".join((ROOT / "README.md").read_text().split())
    small = small_arrays.MAX_EXAMPLES, small_arrays.MAX_BYTES // 2**20
    assert "({:,} examples, {} MiB)".format(*small) in text
    assert f"up to {constant_weights.MAX_BYTES // 2**20} MiB a member" in text
    share = inspect.signature(LabelStore.check).parameters["share"].default
    assert f"`store.check(...)` recomputes {share:.0%}".replace("%", " %") in text
