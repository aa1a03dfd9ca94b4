"""A row for each mistake that a user can make: what came, the rule, the fix."""

import re
import types
from typing import NamedTuple

import pytest


class Row(NamedTuple):
    mistake: str
    call: types.FunctionType
    error: type
    says: list  # regular expressions, all of them in the message


def check(row):
    with pytest.raises(row.error) as raised:
        row.call()
    message = " ".join(str(raised.value).split())
    for text in row.says:
        assert re.search(text, message), f"{text!r} is not in: {message}"
