"""Read the outputs of inner layers during the one forward pass that happens anyway.

A layer's `call` is replaced for the length of the pass (at trace time, so a compiled
step pays nothing) and put back afterwards, also after an error. That reaches layers of
functional, Sequential, subclassed and nested models alike, and needs no second model.
A shared layer is called several times in a pass: each call's output is kept, in order.
"""

import contextlib
import functools
import threading
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from keras_kd._common.checks import nearest

_lock = threading.RLock()
_taps = {}  # id(layer) -> [how many recordings are under way, previous own `call`]
_thread = threading.local()  # replicas of one step are traced in threads of their own
_ABSENT = object()


class _Recording(NamedTuple):
    wanted: set  # ids of layers
    record: dict
    graph: Any  # in which the pass runs; None when it runs eagerly
    scope: Any  # of Keras's inference of shapes, None in a pass on data
    hidden: set  # ids of layers with a call in another graph


@contextlib.contextmanager
def record_outputs(layers):
    """Give a dict that holds, after a forward pass inside, the outputs of its layers.

    `id(layer)` -> list of outputs in the order of the calls. The list stays empty where
    a call ran in a graph of its own (the body of a loop, another `tf.function`), whose
    tensors do not exist outside of it. Read it by `outputs_of` or `output_of`.
    """
    record = {}
    recordings = _thread.__dict__.setdefault("recordings", [])
    wanted = {id(layer) for layer in layers}
    recordings.append(_Recording(wanted, record, _graph(), _symbolic_scope(), set()))
    tapped = []
    try:
        for layer in layers:
            _tap(layer)
            tapped.append(layer)
        yield record
    finally:
        recordings.pop()
        for layer in tapped:
            _untap(layer)


def outputs_of(record, layer, path):
    """Outputs of a layer, one tensor a call, in the order of the calls.

    Args:
        record: What `record_outputs` gave.
        layer: One of the layers that it was asked for.
        path: What an error calls the layer.

    Raises:
        ValueError: Where the pass never called the layer, called it within a graph of
            its own, or where it gives several tensors.
    """
    if id(layer) not in record:
        raise ValueError(
            f"Layer {path!r} exists but was not called in the model's forward pass, so "
            "it has no output to compare. Tap a layer that the model's `call` uses, "
            "outside of any `tf.function` of its own."
        )
    outputs = record[id(layer)]
    if not outputs:
        outer = path.rpartition(".")[0]
        around = (
            f", {outer!r} for one" if outer else ", or give the model a plain `call`"
        )
        raise ValueError(
            f"Layer {path!r} is called inside a loop (as the cell of an RNN is) or "
            "inside a `tf.function`, in a graph of its own that its output cannot "
            f"leave. Tap a layer around that{around}."
        )
    for output in outputs:
        if keras.tree.is_nested(output):
            count = len(keras.tree.flatten(output))
            raise ValueError(
                f"Layer {path!r} of type {type(layer).__name__} gives a structure of "
                f"{count} tensors, and a tap compares one. Pass the one that you mean "
                "through a layer of its own in the model, such as "
                '`keras.layers.Identity(name="tap")`, and tap that.'
            )
    return list(outputs)


def output_of(record, layer, path):
    """The output of a layer that the pass calls once; errors as of `outputs_of`."""
    outputs = outputs_of(record, layer, path)
    if len(outputs) > 1:
        raise ValueError(
            f"Layer {path!r} was called {len(outputs)} times in the model's forward "
            "pass (a shared layer), and one output is needed here. Tap a layer that is "
            "called once, such as a `keras.layers.Identity` after the call that you "
            "mean."
        )
    return outputs[0]


def find_layer(model, path, side):
    """The layer that a dotted path reaches: 'conv1' or 'backbone.stage_2.conv1'."""
    layer = _descend(model, path)
    if layer is None:
        names = layer_paths(model)
        shown = ", ".join(repr(n) for n in names[:60])
        more = f", and {len(names) - 60} more" if len(names) > 60 else ""
        raise ValueError(
            f"The {side} {model.name!r} has no layer {path!r}.{nearest(path, names)} "
            f"Layers that can be tapped (a dot reaches into a nested layer): {shown}"
            f"{more}."
        )
    return layer


def layer_paths(model, prefix=""):
    """Dotted paths of all layers below `model`, outer ones first."""
    paths = []
    for layer in sublayers(model):
        path = prefix + layer.name
        paths += [path, *layer_paths(layer, path + ".")]
    return paths


def sublayers(layer):
    """Layers directly below this one."""
    if hasattr(layer, "layers"):
        return list(layer.layers)
    return layer._flatten_layers(include_self=False, recursive=False)


def _descend(layer, path):
    children = {child.name: child for child in sublayers(layer)}
    if path in children:
        return children[path]
    for name, child in children.items():  # a name may have dots of its own
        if path.startswith(f"{name}."):
            found = _descend(child, path[len(name) + 1 :])
            if found is not None:
                return found
    return None


def _tap(layer):
    with _lock:
        if id(layer) in _taps:
            _taps[id(layer)][0] += 1
            return
        # Written to __dict__: Keras must neither track nor lock what is gone at once.
        _taps[id(layer)] = [1, layer.__dict__.get("call", _ABSENT)]
        layer.__dict__["call"] = _recording_call(layer, layer.call)


def _untap(layer):
    with _lock:
        entry = _taps[id(layer)]
        entry[0] -= 1
        if entry[0]:
            return
        del _taps[id(layer)]
        if entry[1] is _ABSENT:
            del layer.__dict__["call"]
        else:
            layer.__dict__["call"] = entry[1]


def _recording_call(layer, call):
    @functools.wraps(call)
    def recording_call(*args, **kwargs):
        outputs = call(*args, **kwargs)
        for recording in _under_way():
            if id(layer) in recording.wanted:
                _take(recording, layer, outputs)
        return outputs

    return recording_call


def _under_way():
    """This thread's recordings of the present pass, not of one that it interrupts.

    A model that its first batch builds may be traced in a graph of its own meanwhile.
    """
    recordings = getattr(_thread, "recordings", [])
    return [one for one in recordings if one.graph is recordings[-1].graph]


def _take(recording, layer, outputs):
    if _symbolic_scope() is not recording.scope:
        return  # Keras infers shapes, to build what is not built: a call without data
    taken = recording.record.setdefault(id(layer), [])
    if _graph() is not recording.graph:
        recording.hidden.add(id(layer))
    if id(layer) in recording.hidden:
        taken.clear()
    else:
        taken.append(outputs)


def _graph():
    return None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()


def _symbolic_scope():
    """The scope in which Keras infers shapes, None outside of one."""
    with keras.SymbolicScope() as scope:  # Keras has no public getter
        return scope.original_scope
