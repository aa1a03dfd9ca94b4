"""What a store was asked for, and whether what comes now is the same."""

import math

import numpy as np

from keras_kd.data.label_store._fingerprints import (
    ROWS,
    difference,
    mark_of_inputs,
    views_to_mark,
)
from keras_kd.data.label_store.formats import (
    divergences,
    fitted_format,
    format_from_config,
    smallest_format,
)

DRIFT = 1e-4  # nats between stored answers and the same ones computed again

_MEANINGS = {
    "version": "the version of the format",
    "source": "the source",
    "size": "the number of examples in a pass",
    "views": "the number of views",
    "num_classes": "the number of classes",
    "shard_size": "`shard_size`",
    "batch_size": "`batch_size`",
    "max_kl": "`max_kl`",
    "temperature": "`temperature`",
    "teacher": "the teacher (its weights, or its `name`)",
    "format": "the format",
    "k": "`k`, the classes of top_k",
}


def marks_of(views, count):
    """Marks of the inputs of some rows, by view; JSON."""
    return {
        str(view): mark_of_inputs(views.first_rows(view, ROWS))
        for view in views_to_mark(count)
    }


def order_of(views):
    """Numbers of the examples in the order of most passes."""
    if views.size == views.source.size:
        return views.source.indices
    rows = views.of(0).map(lambda example: example["index"]).batch(8192)
    return np.concatenate(list(rows.as_numpy_iterator())).astype(np.int64)


def chosen_format(name, k, logits, asked):
    """The format of that name, or the smallest that keeps a mean KL on these logits."""
    if name == "auto":
        return smallest_format(logits, asked["max_kl"], asked["temperature"])
    return fitted_format(name, logits, k, asked["temperature"])


def check_same(known, given, path):
    """Raise where a plan or a manifest is of something else, and name it.

    Args:
        known: What the store says.
        given: The same keys, or fewer, of what comes now.
        path: Of the store.
    """
    for key, meaning in _MEANINGS.items():
        if key in given and known.get(key) != given[key]:
            raise ValueError(
                f"The store {path} is of something else: {meaning} differs. Stored: "
                f"{known.get(key)!r}. Received: {given[key]!r}. Give what it was "
                "written with, or another folder."
            )
    for view, mark in given.get("inputs", {}).items():
        row = difference(mark, known["inputs"].get(view, []))
        if row is not None:
            raise ValueError(
                f"The store {path} does not belong to this pipeline: view {view} of "
                f"row {row} has other inputs. The policy, its seed, the normalisation "
                "or the source differs. Give the pipeline that it was written with, "
                "or write a store of this one."
            )
    answers = given.get("answers", known["answers"])
    if difference(answers, known["answers"]) is not None:
        raise ValueError(
            f"The store {path} is of another teacher: its answers to the first views "
            "differ. Give the teacher that it was written with, or another folder."
        )


def check_same_format(plan, name, k, path):
    """Raise where a format is asked for by name and the store has another."""
    if name == "auto":
        return
    known, given = {"format": plan["format"]["name"]}, {"format": name}
    if name == "top_k":
        known["k"], given["k"] = plan["format"].get("k"), min(k, plan["num_classes"])
    check_same({**plan, **known}, given, path)


def described(plan, path):
    """One line on what a store will hold and how large it will be."""
    form = format_from_config(plan["format"], plan["num_classes"])
    answers = plan["size"] * plan["views"]
    size = answers * form.record.itemsize / 2**20
    return (
        f"Label store {path}: {plan['size']:,} examples, {plan['views']} views, "
        f"{form.record.itemsize} bytes each ({form.name}): {size:,.1f} MiB"
    )


def drift(store, answer, views, share, batch_size):
    """Mean KL between answers computed again, in the store's format, and its own."""
    total = store.size * store.views
    count = math.ceil(share * total / batch_size)
    starts = range(0, total, batch_size)
    chosen = np.random.default_rng(0).permutation(len(starts))[:count]
    form = format_from_config(store.manifest["format"], store.num_classes)
    found = []
    for start in sorted(starts[i] for i in chosen):
        view, first = divmod(start, store.size)
        for index, inputs, _ in views.batches(view, batch_size, first, batch_size):
            again = form.decode(form.encode(answer(inputs)))
            stored = store.logits(index, np.full(len(index), view))
            found.append(divergences(again, stored))
    return float(np.concatenate(found).mean())
