"""What is saved of a model."""

import keras


def architecture(model):
    """Configuration of a model without its compile state."""
    config = keras.saving.serialize_keras_object(model)
    config.pop("compile_config", None)
    return config


class LiveConfig(dict):
    """A configuration that also knows the object it is of, as long as it is not copied.

    A frozen teacher has no use as an architecture alone. `from_config(get_config())`
    and `keras.models.clone_model` so give it as it is; files hold the dict.
    """

    @classmethod
    def of(cls, live, serialize=keras.saving.serialize_keras_object):
        config = cls(serialize(live))
        config.live = live
        return config

    @staticmethod
    def object_of(config, custom_objects=None):
        """The live object, or a new one from the configuration."""
        if isinstance(config, LiveConfig):
            return config.live
        return keras.saving.deserialize_keras_object(
            config, custom_objects=custom_objects
        )
