"""Copies of what several trainings are configured with: equal, and without a state."""

import inspect

import keras

from keras_kd.losses import DistillationLoss

_WITH_STATE = keras.optimizers.Optimizer, keras.metrics.Metric, DistillationLoss


def copy_of(thing):
    """The same settings in new objects, of arguments in any structure.

    Optimizers, metrics and distillation losses have a state. Losses on labels,
    functions and names have none: they stay the same objects.
    """
    if isinstance(thing, dict):
        return {key: copy_of(value) for key, value in thing.items()}
    if isinstance(thing, (list, tuple)):
        return [copy_of(value) for value in thing]
    if not isinstance(thing, _WITH_STATE):
        return thing
    config = thing.get_config()
    _check_is_whole(thing, config)
    with keras.saving.custom_object_scope(_classes_in(thing)):
        return type(thing).from_config(config)


def _check_is_whole(thing, config):
    """Raise where a copy would silently get defaults for what was given."""
    cls = type(thing)
    if _place_of(cls, "get_config") <= _place_of(cls, "__init__"):
        return
    parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    known = {*config, "dtype"}  # no loss has that in its config
    left_out = [p.name for p in parameters if p.kind in named and p.name not in known]
    if left_out:
        raise ValueError(
            f"Each model gets a copy of {thing!r}, but {cls.__name__} has no "
            f"`get_config` that knows of {left_out}. Write one, as in every Keras "
            "object: a dict of all arguments of `__init__`."
        )


def _place_of(cls, method):
    """How far up the bases a method is defined; 0 is the class itself."""
    return next(i for i, base in enumerate(cls.__mro__) if method in vars(base))


def _classes_in(thing):
    """`{name: class}` of the parts of an object, such as a schedule of one's own."""
    parts = [type(part) for part in vars(thing).values() if hasattr(part, "get_config")]
    return {cls.__name__: cls for cls in parts}
