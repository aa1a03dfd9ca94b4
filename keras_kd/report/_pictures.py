"""Examples as a page shows them: images as PNG in a data URI, or text."""

import base64

import keras
import numpy as np
import tensorflow as tf

MAX_TEXT = 600  # characters
MAX_SIDE = 128  # pixels
_STOPS = ((0, 0, 4), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164))


def picture(x, show=None):
    """`{"image": data URI}` or `{"text": ...}` of one input, without batch axis."""
    if show is not None:
        x = show(x)
    if isinstance(x, str):
        return {"text": _shortened(x)}
    leaves = [np.asarray(leaf) for leaf in keras.tree.flatten(x)]
    if len(leaves) == 1 and is_image(leaves[0]):
        return {"image": png(to_bytes(leaves[0]))}
    return {"text": _shortened(" | ".join(map(_as_text, leaves)))}


def is_image(x):
    """Whether an array without batch axis looks like pixels."""
    return x.ndim == 3 and x.shape[-1] in (1, 3, 4) and min(x.shape[:2]) >= 4


def to_bytes(image):
    """uint8 pixels of `(height, width, 1 or 3)`, whatever the scale of the input."""
    image = np.asarray(image)
    if image.shape[-1] == 4:
        image = image[..., :3]
    if image.dtype != np.uint8:
        image = image.astype("float64")
        low, high = np.nanmin(image), np.nanmax(image)
        if low >= 0 and high <= 1:
            low, high = 0.0, 1.0
        elif low >= 0 and high <= 255:
            low, high = 0.0, 255.0
        elif low >= -1 and high <= 1:
            low, high = -1.0, 1.0
        image = (image - low) / max(high - low, 1e-12)
        image = np.nan_to_num(image * 255).round().astype("uint8")
    return image[:: _stride(image, 0), :: _stride(image, 1)]


def with_map(image, attention):
    """Pixels under a map in [0, 1], bright where the model looks."""
    image = np.asarray(image, "float64")
    low, high = image.min(), image.max()
    grey = ((image - low) / max(high - low, 1e-12)).mean(axis=-1, keepdims=True)
    places = np.linspace(0, 1, len(_STOPS))
    colour = np.stack(
        [np.interp(attention, places, channel) for channel in np.transpose(_STOPS)], -1
    )
    pixels = (0.3 * 255 * grey + 0.7 * colour).round().astype("uint8")
    return pixels[:: _stride(pixels, 0), :: _stride(pixels, 1)]


def png(pixels):
    """PNG of uint8 `(height, width, 1 or 3)`, as a data URI."""
    encoded = base64.b64encode(tf.io.encode_png(pixels).numpy()).decode("ascii")
    return f"data:image/png;base64,{encoded}"


def _stride(image, axis):
    return max(1, image.shape[axis] // MAX_SIDE)


def _as_text(leaf):
    if leaf.dtype.kind in "OSU":
        parts = [
            v.decode("utf-8", "replace") if isinstance(v, bytes) else str(v)
            for v in leaf.ravel().tolist()
        ]
        return " ".join(parts)
    if leaf.ndim <= 1 and leaf.size:
        shown = " ".join(f"{v:.4g}" for v in leaf.ravel()[:64].tolist())
        return shown + (" …" if leaf.size > 64 else "")
    return f"array of shape {leaf.shape}"


def _shortened(text):
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"
