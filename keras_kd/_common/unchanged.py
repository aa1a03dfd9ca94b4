"""Call a model so that nothing of it changes."""

import contextlib

import keras


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
