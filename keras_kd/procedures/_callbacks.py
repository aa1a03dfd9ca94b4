"""Callbacks of several stages: each stage has them in the state as they were given."""

import io
import pickle
import types

import keras
import tensorflow as tf

# Nobody's state, or too large to be: these stay the same objects in every stage.
_SAME_OBJECTS = (
    type,
    types.ModuleType,
    types.FunctionType,
    types.BuiltinFunctionType,
    types.MethodType,
    keras.layers.Layer,
    keras.losses.Loss,
    keras.metrics.Metric,
    keras.optimizers.Optimizer,
    keras.utils.PyDataset,
    tf.data.Dataset,
    tf.distribute.Strategy,
)


def callbacks_by_stage(callbacks, num_stages):
    """A function of the stage's number that gives its callbacks, a list.

    Callbacks keep their state in attributes: the best value so far, how long they have
    waited. These are noted now and set again for each stage.

    Args:
        callbacks: As in `keras.Model.fit`, or such a function.
        num_stages: How many there are; one alone has no need of copies.
    """
    if isinstance(callbacks, keras.callbacks.CallbackList):
        raise TypeError(
            "`callbacks` is a keras.callbacks.CallbackList, which belongs to one model."
            " Pass the list of callbacks itself."
        )
    if callable(callbacks) and not isinstance(callbacks, keras.callbacks.Callback):
        return lambda stage: keras.tree.flatten(callbacks(stage) or [])
    callbacks = keras.tree.flatten(callbacks or [])
    if num_stages < 2:
        return lambda stage: callbacks
    given = _States(callbacks)

    def as_given(stage):
        given.restore()
        return callbacks

    return as_given


class _States:
    """The attributes of callbacks as they are now, to be set again any number of times.

    They are pickled, for that copies what hangs together as one; what is no state of
    the callbacks is left out of it and put back as it is.
    """

    def __init__(self, callbacks):
        self._callbacks = callbacks
        self._same = {id(callback): callback for callback in callbacks}
        self._pickled = io.BytesIO()
        pickler = pickle.Pickler(self._pickled, pickle.HIGHEST_PROTOCOL)
        pickler.persistent_id = self._key_of
        for callback in callbacks:
            try:
                pickler.dump(vars(callback))
            except Exception as error:  # whatever the objects in it raise
                raise TypeError(
                    f"The callback {callback!r} holds what cannot be copied, so it "
                    "cannot start afresh in each stage. Pass a function that gives the "
                    "callbacks of a stage: `fit(..., callbacks=lambda stage: [...])`. "
                    f"What failed: {error}"
                ) from error

    def restore(self):
        self._pickled.seek(0)
        unpickler = pickle.Unpickler(self._pickled)
        unpickler.persistent_load = self._same.__getitem__
        for callback in self._callbacks:
            attributes = unpickler.load()
            vars(callback).clear()
            vars(callback).update(attributes)

    def _key_of(self, thing):
        if id(thing) not in self._same and isinstance(thing, _SAME_OBJECTS):
            self._same[id(thing)] = thing
        return id(thing) if id(thing) in self._same else None
