"""The page of a report, and its files on disk."""

import csv
import importlib.resources
import io
import json
import math

from keras_kd._common.files import replacing
from keras_kd.metrics import scores


def render(content):
    """The page as HTML text.

    Args:
        content: Dict of what `template.html` shows.

    Raises:
        ImportError: Without jinja2, of the extra `report`.
    """
    try:
        import jinja2
    except ImportError as error:
        raise ImportError(
            "A report needs jinja2 and matplotlib. Run "
            '`pip install "keras-kd[report]"`.'
        ) from error
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = number
    template = importlib.resources.files("keras_kd.report") / "template.html"
    text = template.read_text(encoding="utf-8")
    return environment.from_string(text).render(content)


def number(value, name=""):
    """A value as people read it: shares in percent, all others in four digits."""
    if value is None or not math.isfinite(value):
        return "–"
    if name in {score.name for score in scores.SCORES if score.is_share}:
        return f"{value:.1%}"
    if value and abs(value) < 1e-3:
        return f"{value:.1e}".replace("e-0", "e-")
    return f"{value:.4f}"


def write(path, text):
    """Write a file under another name first, so that no half of it is ever read."""
    with (
        replacing(path) as temporary,
        open(temporary, "w", encoding="utf-8", newline="\n") as file,
    ):
        file.write(text)


def as_json(numbers):
    """JSON text; what is not a number, in an empty bin say, is null."""
    return json.dumps(_finite(numbers), indent=2, ensure_ascii=False) + "\n"


def as_csv(numbers):
    """The same numbers, one a row: `dataset, name, value, low, high`.

    Names are the keys that lead to a number in the JSON file, with slashes between.
    """
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(["dataset", "name", "value", "low", "high"])
    for dataset, found in _finite(numbers).items():
        writer.writerows([dataset, *row] for row in _rows(found, ()))
    return written.getvalue()


def _rows(value, path):
    if isinstance(value, dict) and set(value) == {"value", "low", "high"}:
        yield ["/".join(path), value["value"], value["low"], value["high"]]
    elif isinstance(value, (dict, list, tuple)):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, entry in items:
            yield from _rows(entry, (*path, str(key)))
    else:
        yield ["/".join(path), value, None, None]


def _finite(value):
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
