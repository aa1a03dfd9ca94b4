"""What is saved of a model."""

import keras


def architecture(model):
    """Configuration of a model without its compile state."""
    config = keras.saving.serialize_keras_object(model)
    config.pop("compile_config", None)
    return config


class LiveConfig(dict):
    """A configuration that knows the object it is of, as long as it stays in memory.

    A frozen teacher has no use as an architecture alone. `from_config(get_config())`
    and `keras.models.clone_model` so give it as it is; files hold the configuration.
    """

    @classmethod
    def of(cls, live, serialize=keras.saving.serialize_keras_object):
        return cls(serialize(live), live=_NameOfLive(live))

    @staticmethod
    def object_of(config, custom_objects=None):
        """The live object, or a new one from the configuration."""
        if isinstance(config, dict) and "live" in config:
            if isinstance(config["live"], _NameOfLive):
                return config["live"].object
            config = {k: v for k, v in config.items() if k != "live"}
        return keras.saving.deserialize_keras_object(
            config, custom_objects=custom_objects
        )


class _NameOfLive(str):
    """The name of an object, with the object; Keras copies a configuration but for str.

    What leaves the process, as JSON or as a pickle, is the name alone.
    """

    def __new__(cls, live):
        name = super().__new__(cls, live.name)
        name.object = live
        return name

    def __deepcopy__(self, memo):
        return self

    def __reduce__(self):
        return str, (str(self),)
