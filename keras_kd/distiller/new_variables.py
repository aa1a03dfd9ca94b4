"""Variables that turn out to be missing while a step is traced."""

import contextlib

import tensorflow as tf


@contextlib.contextmanager
def made_outside():
    """Make variables as if the step had found them.

    TensorFlow 2.18 traces a function twice that makes variables of its own.
    """
    with tf.init_scope(), tf.variable_creator_scope(_without_lifting):
        yield


def _without_lifting(make, **options):
    return make(**{**options, "experimental_enable_variable_lifting": False})
