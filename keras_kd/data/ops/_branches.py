"""Running one of several functions, chosen by a tensor."""

import tensorflow as tf


def choose(index, branches, image, *parameters):
    """`branches[index](image, *parameters)`; the others are not run.

    A branch must not use other tensors of the surrounding graph. tf.data turns
    `tf.switch_case` into a graph through which every unused branch is still walked:
    four orders of jitter took 1.4 times as long as with the kernel that is used here.
    """
    if tf.executing_eagerly():
        return branches[int(index)](image, *parameters)
    arguments = (image, *parameters)
    specs = [tf.TensorSpec.from_tensor(tensor) for tensor in arguments]
    functions = [
        tf.function(branch, autograph=False).get_concrete_function(*specs)
        for branch in branches
    ]
    shapes = {str(f.structured_outputs.shape): f for f in functions}
    if len(shapes) > 1:
        raise ValueError(
            "An op that is applied at random must keep the shape of the image. "
            f"Received ops that give {sorted(shapes)}. Apply the op that changes the "
            "shape always, as a part of the policy."
        )
    if any(f.captured_inputs for f in functions):  # a Keras layer with weights
        calls = [lambda f=f: f(*arguments) for f in functions]
        result = tf.switch_case(index, calls)
    else:
        result = tf.raw_ops.StatelessCase(
            branch_index=index,
            input=arguments,
            Tout=[functions[0].structured_outputs.dtype],
            branches=functions,
        )[0]
    return tf.ensure_shape(result, functions[0].structured_outputs.shape)
