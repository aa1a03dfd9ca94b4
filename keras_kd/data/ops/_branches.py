"""Running one of several functions, chosen by a tensor."""

import tensorflow as tf

from keras_kd.data.ops.base import with_shape


def choose(index, branches, image, *parameters):
    """`branches[index](image, *parameters)`; the others are not run.

    A branch must not use other tensors of the surrounding graph. tf.data turns
    `tf.switch_case` into a graph through which all unused branches are walked; the
    kernel that is used here took a third off a jitter of random order.
    """
    if tf.executing_eagerly():
        return branches[int(index)](image, *parameters)
    arguments = (image, *parameters)
    specs = [tf.TensorSpec.from_tensor(tensor) for tensor in arguments]
    functions = [
        tf.function(branch, autograph=False).get_concrete_function(*specs)
        for branch in branches
    ]
    outputs = [f.structured_outputs for f in functions]
    if len({str(output.shape) for output in outputs}) > 1:
        raise ValueError(
            "An op that is applied at random must keep the shape of the image. "
            f"Received ops that give {sorted({str(o.shape) for o in outputs})}. Apply "
            "the op that changes the shape always, as a part of the policy."
        )
    if any(f.captured_inputs for f in functions):  # a Keras layer with weights
        result = tf.switch_case(index, [lambda f=f: f(*arguments) for f in functions])
    else:
        result = tf.raw_ops.StatelessCase(
            branch_index=index,
            input=arguments,
            Tout=[outputs[0].dtype],
            branches=functions,
        )[0]
    return with_shape(result, outputs[0].shape)
