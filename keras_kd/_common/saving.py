"""What is saved of a model."""

import keras


def architecture(model):
    """Configuration of a model without its compile state."""
    config = keras.saving.serialize_keras_object(model)
    config.pop("compile_config", None)
    return config


class DistillerFiles:
    """Mix-in before `keras.Model`: what the files of a Distiller hold.

    What `compile` was given comes back with a file; Keras does so only for models whose
    `compile` is its own. It is kept in `_held.compile_arguments`.
    """

    def export(self, filepath, *args, **kwargs):
        """Export the student: what it gives is what a call of the distiller gives."""
        return self.student.export(filepath, *args, **kwargs)

    @classmethod
    def from_config(cls, config, custom_objects=None):
        return cls(
            **{
                key: keras.saving.deserialize_keras_object(
                    value, custom_objects=custom_objects
                )
                for key, value in config.items()
            }
        )

    def get_compile_config(self):
        if not self.compiled:
            return {}
        return keras.saving.serialize_keras_object(self._held.compile_arguments)

    def compile_from_config(self, config):
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.built:
            self.optimizer.build(self.trainable_variables)
