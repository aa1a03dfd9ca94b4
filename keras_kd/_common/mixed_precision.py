"""Loss scaling for float16 students."""

import keras


def with_loss_scaling(optimizer, model):
    """The optimizer, wrapped where a layer of the model computes in float16.

    The distiller's own policy does not tell: student and teacher have theirs.
    """
    policies = {layer.dtype_policy.name for layer in model._flatten_layers()}
    if "mixed_float16" not in policies or isinstance(
        optimizer, keras.optimizers.LossScaleOptimizer
    ):
        return optimizer
    return keras.optimizers.LossScaleOptimizer(optimizer, name="loss_scale_optimizer")
