"""Call a model so that nothing of it changes, nor the states of its RNNs."""

import contextlib

import keras
import tensorflow as tf


@contextlib.contextmanager
def unchanged(model, states=()):
    """A scope in which calls of `model` reach neither its variables nor its losses.

    Calling a model empties the lists that its `losses` are read from; they are put
    back. A write to a Keras variable in a stateless scope reaches no variable.

    Args:
        model: The model that is called inside.
        states: Pairs of a variable and the value that it shows inside.

    Yields:
        The stateless scope, which knows the values that were written.
    """
    kept = [(layer._losses, [*layer._losses]) for layer in model._flatten_layers()]
    try:
        with keras.StatelessScope(states, initialize_variables=False) as scope:
            yield scope
    finally:
        for losses, values in kept:
            losses[:] = values


class CarriedState:
    """Copies of the RNN states of frozen models, which go from batch to batch.

    A plain object: Keras neither tracks nor saves what it holds.
    """

    def __init__(self, models):
        self._pairs = {
            id(model): [(own, tf.Variable(own, trainable=False)) for own in states]
            for model in models
            if (states := _rnn_states(model))
        }

    def start(self):
        """Begin a pass over a set with the states that the models have now."""
        for own, copy in self._all():
            copy.assign(own)

    def of(self, model):
        """`[(variable of the model, its present value)]` for a stateless scope."""
        pairs = self._pairs.get(id(model), ())
        if pairs and tf.distribute.get_strategy().num_replicas_in_sync > 1:
            raise ValueError(
                f"Teacher {model.name!r} is stateful: its answers depend on the batch "
                "before, which replicas do not share. Run it on one device, or store "
                "its answers and distil from these."
            )
        return [(own, tf.convert_to_tensor(copy)) for own, copy in pairs]

    def carry(self, model, scope):
        """Keep the states that a call inside `scope` has left."""
        for own, copy in self._pairs.get(id(model), ()):
            copy.assign(scope.get_current_value(own))

    def _all(self):
        return [pair for pairs in self._pairs.values() for pair in pairs]


def _rnn_states(model):
    layers = [
        layer for layer in model._flatten_layers() if getattr(layer, "stateful", False)
    ]
    states = keras.tree.flatten([getattr(layer, "states", None) for layer in layers])
    variables = {id(s): s for s in states if isinstance(s, keras.Variable)}
    return list(variables.values())
