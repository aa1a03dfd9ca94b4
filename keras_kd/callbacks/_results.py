"""What a result holds that logs and TensorBoard can show."""

import dataclasses

import keras
import numpy as np


def fields(name, result):
    """`(name, number or array)` of each numeric part of a number, dict or record."""
    if dataclasses.is_dataclass(result):
        result = dataclasses.asdict(result)
    elif hasattr(result, "_asdict"):
        result = result._asdict()
    flat = keras.tree.flatten_with_path(result)
    found = []
    for path, leaf in flat:
        value = None if leaf is None else np.asarray(keras.ops.convert_to_numpy(leaf))
        if value is not None and value.dtype.kind in "biuf":
            found.append(("/".join([name, *map(str, path)]), value))
    return found


def picture(draw):
    """What `draw(ax=axes)` draws, as uint8 pixels `(1, height, width, 4)`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4.5), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    draw(ax=figure.subplots())
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[None]
