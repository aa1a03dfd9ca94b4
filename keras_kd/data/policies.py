"""The papers' augmentation policies as lists of ops, by name."""

from keras_kd.data.ops import (
    ColorJitter,
    Cutout,
    RandomCrop,
    RandomHorizontalFlip,
    RandomResizedCrop,
    RandomRotation,
    RandomVerticalFlip,
    ReleasedAutoAugment,
)


def none():
    """No op: pixels are scaled to [0, 1]."""
    return []


def baseline(*, padding=4):
    """Stanton et al. 2021, A.1: what teachers see, and the end of the next four."""
    return [RandomCrop(padding=padding), RandomHorizontalFlip()]


def rotation(*, degrees=20.0, padding=4):
    """Stanton et al. 2021, A.1: nearest neighbours, black corners."""
    return [RandomRotation(degrees), *baseline(padding=padding)]


def vertical_flip(*, padding=4):
    """Stanton et al. 2021, A.1."""
    return [RandomVerticalFlip(), *baseline(padding=padding)]


def color_jitter(*, padding=4):
    """Stanton et al. 2021, A.1."""
    return [ColorJitter(), *baseline(padding=padding)]


def combined(*, degrees=20.0, padding=4):
    """Stanton et al. 2021, A.1: all of the above, in sequence."""
    return [
        RandomRotation(degrees),
        RandomVerticalFlip(),
        ColorJitter(),
        *baseline(padding=padding),
    ]


def weak(*, size=224, degrees=15.0):
    """Guo et al. 2024, released code for CIFAR."""
    return [
        RandomResizedCrop(size, scale=(0.2, 1.0), interpolation="bicubic"),
        RandomHorizontalFlip(),
        RandomRotation(degrees),
    ]


def strong(*, size=224, length=16):
    """Guo et al. 2024, released code for CIFAR. No rotation: not weak and more."""
    return [
        RandomResizedCrop(size, scale=(0.2, 1.0), interpolation="bicubic"),
        RandomHorizontalFlip(),
        ReleasedAutoAugment(),
        Cutout(length=length),
    ]


POLICIES = {
    recipe.__name__: recipe
    for recipe in (
        none,
        baseline,
        rotation,
        vertical_flip,
        color_jitter,
        combined,
        weak,
        strong,
    )
}
