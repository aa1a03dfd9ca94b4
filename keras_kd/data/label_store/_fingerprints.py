"""What a store belongs to: marks of a pipeline and of a teacher, compared."""

import hashlib
import json

import numpy as np

ROWS = 8  # of a pass whose inputs are kept in part
VALUES = 32  # of an input, at even distances


def views_to_mark(views):
    """The first, the second and the last of so many views."""
    return sorted({0, min(1, views - 1), views - 1})


def mark_of_inputs(inputs):
    """Some values of each input, so that another pipeline shows; JSON.

    Values and not a hash of them: processors round floats differently.
    """
    inputs = np.asarray(inputs)
    marks = []
    for row in inputs.reshape(len(inputs), -1):
        if row.dtype.kind in "biuf":
            places = np.linspace(0, row.size - 1, min(VALUES, row.size)).astype(int)
            marks.append([round(float(value), 6) for value in row[places]])
        else:  # text
            texts = "\0".join(map(repr, row.tolist()))
            marks.append(hashlib.sha256(texts.encode()).hexdigest())
    return marks


def difference(found, stored, atol=2e-3):
    """Where two marks differ: the number of the row, or None."""
    for row, (one, other) in enumerate(zip(found, stored, strict=False)):
        if isinstance(one, str) or isinstance(other, str) or len(one) != len(other):
            if one != other:
                return row
        elif not np.allclose(one, other, rtol=1e-3, atol=atol, equal_nan=True):
            return row
    return None if len(found) == len(stored) else min(len(found), len(stored))


def fingerprint_of_models(members, settings):
    """SHA-256 of weights, with how they are combined; any change of either shows."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for member in members:
        for weight in member.get_weights():
            digest.update(f"{weight.dtype}{weight.shape}".encode())
            digest.update(np.ascontiguousarray(weight).tobytes())
    return digest.hexdigest()
