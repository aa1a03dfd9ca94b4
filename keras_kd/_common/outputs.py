"""Match labels, losses and weights to the outputs of a model, by name or by place."""

import keras

from keras_kd._common.checks import nearest


def symbolic_outputs(model):
    """Structure of symbolic outputs of a functional or Sequential model, or None."""
    outputs = getattr(model, "outputs", None)
    if not outputs:
        return None
    return outputs[0] if isinstance(model, keras.Sequential) else model.output


def named_outputs(model, outputs):
    """`{name: tensor}` of a model's outputs, in the model's order."""
    if isinstance(outputs, dict):
        return dict(outputs)
    if not isinstance(outputs, (list, tuple)):
        return {_default_names(model, 1)[0]: outputs}
    return dict(zip(_default_names(model, len(outputs)), outputs, strict=True))


def match_to_outputs(what, value, names, *, shared):
    """`{output name: entry}` from a dict by name, a list by place, or one entry.

    One entry goes to the single output, or to all of them where it may be `shared`.
    Outputs without an entry get None.
    """
    if isinstance(value, dict):
        unknown = [key for key in value if key not in names]
        if unknown:
            raise ValueError(
                f"`{what}` names outputs that the student does not have: {unknown}. "
                f"Its outputs: {list(names)}.{nearest(unknown[0], names)}"
            )
        return {name: value.get(name) for name in names}
    if isinstance(value, (list, tuple)):
        if len(value) != len(names):
            raise ValueError(
                f"`{what}` has {len(value)} entries for the {len(names)} outputs "
                f"{list(names)}. Give one entry an output, or a dict by name."
            )
        return dict(zip(names, value, strict=True))
    if len(names) > 1 and not shared and value is not None:
        raise ValueError(
            f"`{what}` must have one entry for each of the outputs {list(names)}: a "
            f"dict by name, or a list. Received a single one: {value!r}."
        )
    return dict.fromkeys(names, value)


def _default_names(model, count):
    names = list(getattr(model, "output_names", None) or [])
    if len(names) == count and len(set(names)) == count:
        return names
    structure = symbolic_outputs(model)
    if isinstance(structure, dict) and len(structure) == count:
        return list(structure)
    return [f"output_{i}" for i in range(count)]


def as_float32(structure):
    """Cast half-precision leaves up; float64 stays, masks ride along."""

    def cast(tensor):
        if keras.backend.standardize_dtype(tensor.dtype) not in ("float16", "bfloat16"):
            return tensor
        return _with_mask_of(tensor, keras.ops.cast(tensor, "float32"))

    return keras.tree.map_structure(cast, structure)


def without_gradient(structure):
    """Stop gradients at the leaves; masks ride along."""

    def stop(tensor):
        return _with_mask_of(tensor, keras.ops.stop_gradient(tensor))

    return keras.tree.map_structure(stop, structure)


def _with_mask_of(tensor, new):
    mask = getattr(tensor, "_keras_mask", None)
    if mask is not None:
        new._keras_mask = mask
    return new
