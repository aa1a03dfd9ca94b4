"""Tables, as plain text and for notebooks, and results that show themselves as one."""

import dataclasses
import html

import numpy as np


def format_table(header, rows):
    """Align a header and rows of strings: the first column left, the others right."""
    table = [list(map(str, header)), *(list(map(str, row)) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]

    def line(row):
        first = row[0].ljust(widths[0])
        rest = [cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True)]
        return "  ".join([first, *rest]).rstrip()

    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    return "\n".join([line(table[0]), rule, *map(line, table[1:])])


def html_table(header, rows):
    """The same as an HTML table, whatever the cells hold: they are escaped."""

    def line(cells, tag):
        cells = "".join(f"<{tag}>{html.escape(str(c))}</{tag}>" for c in cells)
        return f"<tr>{cells}</tr>"

    body = "\n".join(line(row, "td") for row in rows)
    return (
        f"<table>\n<thead>\n{line(header, 'th')}\n</thead>\n"
        f"<tbody>\n{body}\n</tbody>\n</table>"
    )


class InTable:
    """A result that prints as a table, and is one in a notebook.

    A dataclass (with `repr=False`) shows its fields, a row each. Other tables are what
    its `_table()` returns: a header and rows. A NamedTuple has no bases: there, write
    `__repr__ = InTable.__repr__` and `_repr_html_ = InTable._repr_html_`.
    """

    def _table(self):
        names = [field.name for field in dataclasses.fields(self)]
        rows = [[name, shown(getattr(self, name))] for name in names]
        return [type(self).__name__, ""], rows

    def __repr__(self):
        return format_table(*self._table())

    def _repr_html_(self):
        return html_table(*self._table())


def bin_table(edges, columns, names):
    """Header and rows of what was found in bins, a row each."""
    spans = [
        f"{low:.3g} to {high:.3g}"
        for low, high in zip(edges[:-1], edges[1:], strict=True)
    ]
    rows = zip(spans, *columns, strict=True)
    return ["bin", *names], [[span, *map(shown, values)] for span, *values in rows]


def shown(value):
    """A value in a cell: numbers by four digits, of arrays their shape and range."""
    if value is None:
        return "-"
    if isinstance(value, (bool, str, int, np.integer)):
        return str(value)
    if isinstance(value, (float, np.floating)):
        return f"{value:.4g}"
    if isinstance(value, tuple) and all(np.ndim(v) == 0 for v in value):
        return ", ".join(map(shown, value))
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        return _array(value)
    if isinstance(value, dict):
        return ", ".join(map(str, value))
    if isinstance(value, (list, tuple)):
        return f"{type(value).__name__} of {len(value)}"
    return type(value).__name__


def _array(value):
    known = value[np.isfinite(value)]
    text = f"{'x'.join(map(str, value.shape))} {value.dtype}"
    return f"{text}, {known.min():.4g} to {known.max():.4g}" if known.size else text


def shortened(name, size=18):
    """A name cut to so many characters, for the axis of a picture."""
    name = str(name)
    return name if len(name) <= size else name[: size - 1] + "…"
