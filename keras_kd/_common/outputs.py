"""Name the outputs of a model, and say which of two models' outputs belong together."""

import re

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


def have_names(model, outputs):
    """Whether somebody named the outputs: keys of a dict, or layers with given names.

    A name that Keras made up (`dense_3`) says in which order layers were made, no more.
    """
    if isinstance(outputs, dict):
        return True
    outputs = outputs if isinstance(outputs, (list, tuple)) else [outputs]
    tensors = getattr(model, "outputs", None) or []
    layers = [_source(tensor) for tensor in tensors]
    if len(layers) != len(outputs):
        return False
    names = [getattr(layer, "name", None) for layer in layers]
    return len(set(names)) == len(names) and not any(map(_is_made_up, layers))


def pair_outputs(teacher, student, *, by_name):
    """`{student's output: teacher's output or None}`, both sides as `{name: ...}`.

    With `by_name` (both sides have names) outputs of one name belong together, else
    those of one place. A single output of the teacher goes with any of the student's,
    unless its name is another one of these.
    """
    lone = next(iter(teacher)) if len(teacher) == 1 else None
    if by_name:
        default = None if lone in student else lone
        return {name: name if name in teacher else default for name in student}
    if lone is not None or len(teacher) != len(student):
        return dict.fromkeys(student, lone)
    return dict(zip(student, teacher, strict=True))


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


def in_structure_of(reference, reference_outputs, model, outputs):
    """A model's outputs in the structure of another's, each where it belongs.

    Raises:
        ValueError: Where an output of the reference has none that belongs to it.
    """
    ours = named_outputs(reference, reference_outputs)
    theirs = named_outputs(model, outputs)
    by_name = have_names(reference, reference_outputs) and have_names(model, outputs)
    pairs = pair_outputs(theirs, ours, by_name=by_name)
    if None in pairs.values() or len(set(pairs.values())) < len(pairs):
        raise ValueError(
            f"The outputs of {model.name!r}, {list(theirs)}, do not say which belongs "
            f"to which of {list(ours)} of {reference.name!r}. Name them alike: "
            "`keras.Model(model.inputs, {'name': output, ...})`; a model with outputs "
            "that others lack cannot come first."
        )
    if not keras.tree.is_nested(reference_outputs):
        return theirs[pairs[next(iter(ours))]]
    if isinstance(reference_outputs, dict):
        return {name: theirs[pairs[name]] for name in reference_outputs}
    return type(reference_outputs)(theirs[pairs[name]] for name in ours)


def _default_names(model, count):
    names = list(getattr(model, "output_names", None) or [])
    if len(names) == count and len(set(names)) == count:
        return names
    structure = symbolic_outputs(model)
    if isinstance(structure, dict) and len(structure) == count:
        return list(structure)
    return [f"output_{i}" for i in range(count)]


def _source(tensor):
    return getattr(getattr(tensor, "_keras_history", None), "operation", None)


def _is_made_up(layer):
    """Whether a name is the one that Keras gives: `dense_3` of a Dense."""
    base = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", type(layer).__name__)
    base = re.sub("([a-z])([A-Z])", r"\1_\2", base).lower()
    return layer is None or re.fullmatch(rf"{base}(_\d+)?", layer.name) is not None
