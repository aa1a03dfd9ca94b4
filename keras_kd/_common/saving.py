"""What is saved of a model."""

import keras


def architecture(model):
    """Configuration of a model without its compile state."""
    config = keras.saving.serialize_keras_object(model)
    config.pop("compile_config", None)
    return config
