"""Gradients of a function, outside the step that Keras writes by itself."""


def value_and_gradients(function, variables):
    """`(function(), gradients)` of a scalar function of Keras variables.

    TensorFlow only: the one line that a trainer for another backend would replace.
    """
    import tensorflow as tf

    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch([variable.value for variable in variables])
        value = function()
    return value, tape.gradient(value, [variable.value for variable in variables])
