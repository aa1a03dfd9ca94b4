"""Tell whether a model ends in logits or in probabilities, before it trains wrongly."""

import keras
import numpy as np

from keras_kd._common.inputs import input_spec
from keras_kd._common.unchanged import unchanged

_PROBABILITIES = {"softmax", "sigmoid", "hard_sigmoid", "sparsemax"}
_PROBE_SIZE = 8  # length of an axis that the specification leaves open


def output_kind(model):
    """'logits', 'probabilities', or None when neither layers nor a probe tell.

    Layers are read first. A head that they do not settle is called once on two random
    inputs, without touching a variable: rows that are all >= 0 and sum to 1 are
    probabilities.
    """
    kinds = [_kind_of_tensor(t) for t in getattr(model, "outputs", None) or [None]]
    if "probabilities" in kinds:
        return "probabilities"
    if all(kind == "logits" for kind in kinds):
        return "logits"
    return _kind_by_probe(model)


def _kind_of_tensor(tensor):
    history = getattr(tensor, "_keras_history", None)
    operation = getattr(history, "operation", None)
    if operation is None:
        return None
    if isinstance(operation, keras.Model):
        inner = getattr(operation, "outputs", None)
        return _kind_of_tensor(inner[0]) if inner and len(inner) == 1 else None
    if type(operation).__name__ in ("Softmax", "Sigmoid"):  # layer or keras.ops
        return "probabilities"
    activation = getattr(operation, "activation", None)
    name = getattr(activation, "__name__", None)
    if name in _PROBABILITIES:
        return "probabilities"
    dense = isinstance(operation, (keras.layers.Dense, keras.layers.EinsumDense))
    return "logits" if dense and name == "linear" else None


def _kind_by_probe(model):
    try:
        outputs = _probe(model)
    except Exception:
        return None  # an input that cannot be guessed settles nothing
    if outputs is None:
        return None
    rows = [np.asarray(keras.ops.convert_to_numpy(o), "float64") for o in outputs]
    rows = [r for r in rows if r.ndim >= 2 and r.shape[-1] > 1]
    if not rows:
        return None
    sums_to_one = [
        (r >= 0).all() and np.allclose(r.sum(axis=-1), 1.0, atol=1e-2) for r in rows
    ]
    return "probabilities" if any(sums_to_one) else "logits"


def _probe(model):
    spec = input_spec(model)
    if spec is None:
        return None
    generator = np.random.default_rng(0)

    def example(leaf):
        shape = [2, *(d or _PROBE_SIZE for d in leaf.shape[1:])]
        if leaf.dtype.is_floating:
            return generator.normal(size=shape).astype(leaf.dtype.as_numpy_dtype)
        return np.zeros(shape, leaf.dtype.as_numpy_dtype)

    with unchanged(model):
        outputs = model(keras.tree.map_structure(example, spec), training=False)
    return keras.tree.flatten(outputs)
