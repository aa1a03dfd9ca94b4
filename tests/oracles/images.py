"""Oracles of image ops: float64 NumPy, SciPy, Pillow and colorsys; nothing of ours.

Images are `(height, width, channels)` in [0, 1].
"""

import colorsys

import numpy as np
from PIL import Image, ImageEnhance, ImageOps
from scipy import ndimage

LUMA = np.array([0.2989, 0.5870, 0.1140])  # torchvision's rgb_to_grayscale


def places(shape, matrix):
    """Row and column, each `(height, width)`, that every output pixel is read from."""
    a, b, c, d, e, f, g, h = np.asarray(matrix, "float64")
    y, x = np.mgrid[: shape[0], : shape[1]]
    k = g * x + h * y + 1
    return (d * x + e * y + f) / k, (a * x + b * y + c) / k


def warp(image, matrix, *, order, fill=0.0):
    """Read at these places, nearest (order 0) or bilinear (1)."""
    at = places(image.shape, matrix)
    planes = np.moveaxis(np.asarray(image, "float64"), -1, 0)
    warped = [
        ndimage.map_coordinates(p, at, order=order, mode="grid-constant", cval=fill)
        for p in planes
    ]
    return np.stack(warped, -1)


def decided(shape, matrix, margin=1e-3):
    """`(height, width)`: which nearest neighbours no rounding error can change."""
    row, column = places(shape, matrix)
    return (np.abs(row % 1 - 0.5) > margin) & (np.abs(column % 1 - 0.5) > margin)


def rotation(shape, degrees):
    """The matrix that turns counter-clockwise about the middle, rows counted down."""
    angle = np.deg2rad(degrees)
    middle = np.array([shape[1] - 1, shape[0] - 1]) / 2
    # A pixel at p comes from the place that the turn takes to p: turned back, where
    # "counter-clockwise" on the screen is clockwise in these axes.
    back = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    shift = middle - back @ middle
    return [*back[0], shift[0], *back[1], shift[1], 0, 0]


def homography(corners, shape):
    """The matrix that takes `corners` to the image's corner points, by SVD."""
    bottom, right = shape[0] - 1, shape[1] - 1
    sources = [(0, 0), (right, 0), (right, bottom), (0, bottom)]
    rows = []
    for (x, y), (u, v) in zip(np.asarray(corners, "float64"), sources, strict=True):
        rows.append([x, y, 1, 0, 0, 0, -u * x, -u * y, -u])
        rows.append([0, 0, 0, x, y, 1, -v * x, -v * y, -v])
    null = np.linalg.svd(np.array(rows))[2][-1]
    return null[:8] / null[8]


def torchvision_perspective(image, corners, *, fill=0.0):
    """Bilinear, by torchvision's grid in [-1, 1] and grid_sample's aligned edges.

    The grid is at x + 0.5 over half the width, less 1; with `align_corners=False` a
    value g is read at pixel ((g + 1) width - 1) / 2.
    """
    height, width = image.shape[:2]
    a, b, c, d, e, f, g, h = homography(corners, image.shape)
    y, x = np.mgrid[:height, :width] + 0.5
    below = g * x + h * y + 1
    across = (a * x + b * y + c) / (0.5 * width) / below - 1
    down = (d * x + e * y + f) / (0.5 * height) / below - 1
    at = ((down + 1) * height - 1) / 2, ((across + 1) * width - 1) / 2
    planes = np.moveaxis(np.asarray(image, "float64"), -1, 0)
    warped = [
        ndimage.map_coordinates(p, at, order=1, mode="grid-constant", cval=fill)
        for p in planes
    ]
    return np.stack(warped, -1)


def pillow_perspective(levels, matrix):
    """Nearest neighbour, black outside."""
    image = Image.fromarray(levels)
    method = Image.PERSPECTIVE
    return np.asarray(image.transform(image.size, method, matrix, Image.NEAREST))


def luma(image):
    return (np.asarray(image, "float64") @ LUMA)[..., None]


def brightness(image, factor):
    return np.clip(np.asarray(image, "float64") * factor, 0, 1)


def contrast(image, factor):
    image = np.asarray(image, "float64")
    gray = luma(image).mean() if image.shape[-1] == 3 else image.mean()
    return np.clip(factor * image + (1 - factor) * gray, 0, 1)


def saturation(image, factor):
    image = np.asarray(image, "float64")
    return np.clip(factor * image + (1 - factor) * luma(image), 0, 1)


def hue(image, shift):
    def pixel(rgb):
        h, s, v = colorsys.rgb_to_hsv(*rgb)
        return colorsys.hsv_to_rgb((h + shift) % 1.0, s, v)

    return np.apply_along_axis(pixel, -1, np.asarray(image, "float64"))


def gaussian(image, sigma, kernel_size):
    """Truncated at the kernel, edges mirrored without repeating them."""
    return ndimage.gaussian_filter(
        np.asarray(image, "float64"),
        (sigma, sigma, 0),
        mode="mirror",
        radius=(kernel_size // 2, kernel_size // 2, 0),
    )


def sharpness(image, factor):
    """Pillow's: a blend with SMOOTH, whose border is the image's."""
    image = np.asarray(image, "float64")
    kernel = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]])[..., None] / 13
    smooth = ndimage.convolve(image, kernel)
    edge = np.ones(image.shape[:2], bool)
    edge[1:-1, 1:-1] = False
    smooth[edge] = image[edge]
    return np.clip(factor * image + (1 - factor) * smooth, 0, 1)


def resized(image, size, method):
    """Pillow on floating-point planes, `(height, width)`."""
    filters = {"bilinear": Image.BILINEAR, "bicubic": Image.BICUBIC}
    planes = [
        Image.fromarray(np.ascontiguousarray(plane, "float32")).resize(
            size[::-1], filters[method]
        )
        for plane in np.moveaxis(image, -1, 0)
    ]
    return np.clip(np.stack([np.asarray(plane) for plane in planes], -1), 0, 1)


def pillow(levels, name, *arguments):
    """An op of `PIL.ImageOps` on uint8."""
    image = Image.fromarray(levels)
    return np.asarray(getattr(ImageOps, name)(image, *arguments))


def pillow_sharpness(levels, factor):
    return np.asarray(ImageEnhance.Sharpness(Image.fromarray(levels)).enhance(factor))


def pillow_affine(levels, matrix):
    """Nearest neighbour, black outside; `matrix` of six, on corners of pixels."""
    image = Image.fromarray(levels)
    return np.asarray(image.transform(image.size, Image.AFFINE, matrix, Image.NEAREST))


def resized_crop(rng, height, width, scale, ratio):
    """torchvision's RandomResizedCrop.get_params: top, left, height, width."""
    for _ in range(10):
        area = height * width * rng.uniform(*scale)
        shape = np.exp(rng.uniform(*np.log(ratio)))
        w, h = round(np.sqrt(area * shape)), round(np.sqrt(area / shape))
        if 0 < w <= width and 0 < h <= height:
            top, left = rng.integers(height - h + 1), rng.integers(width - w + 1)
            return top, left, h, w
    w, h = width, height
    if width / height < ratio[0]:
        h = round(width / ratio[0])
    elif width / height > ratio[1]:
        w = round(height * ratio[1])
    return (height - h) // 2, (width - w) // 2, h, w
