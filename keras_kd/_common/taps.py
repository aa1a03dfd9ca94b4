"""Read the outputs of inner layers during the one forward pass that happens anyway.

A layer's `call` is replaced for the length of the pass (at trace time, so a compiled
step pays nothing) and put back afterwards, also after an error. That reaches layers of
functional, Sequential, subclassed and nested models alike, and needs no second model.
"""

import contextlib
import functools
import threading

from keras_kd._common.checks import nearest

_lock = threading.RLock()
_taps = {}  # id(layer) -> [how many recordings are under way, previous own `call`]
_thread = threading.local()  # replicas of one step are traced in threads of their own
_ABSENT = object()


@contextlib.contextmanager
def record_outputs(layers):
    """Give a dict that holds, after a forward pass inside, `id(layer)` -> output."""
    record = {}
    recordings = _thread.__dict__.setdefault("recordings", [])
    wanted = {id(layer) for layer in layers}
    recordings.append((wanted, record))
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


def output_of(record, layer, path):
    """The recorded output of `layer`, or an error when the pass never called it."""
    if id(layer) not in record:
        raise ValueError(
            f"Layer {path!r} exists but was not called in the model's forward pass, so "
            "it has no output to compare. Tap a layer that the model's `call` uses."
        )
    return record[id(layer)]


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
        for wanted, record in getattr(_thread, "recordings", ()):
            if id(layer) in wanted:
                record[id(layer)] = outputs
        return outputs

    return recording_call
