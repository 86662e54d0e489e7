"""Data to learn from and to forget: generated, fetched once, or loaded from disk.

What comes with metadata (a device, a site, a patient, a year) can be asked to forget by it, see
:func:`sklunlearn.forget_mask`.
"""

from sklunlearn.datasets._device_shift import make_device_shift
from sklunlearn.datasets._digits import load_digits_images
from sklunlearn.datasets._heart_disease import fetch_heart_disease
from sklunlearn.datasets._image_folder import load_image_folder
from sklunlearn.datasets._lazy_images import LazyImages
from sklunlearn.datasets._medmnist import fetch_medmnist
from sklunlearn.datasets._moons_blobs import make_moons_blobs
from sklunlearn.datasets._openml import fetch_cifar10, fetch_fashion_mnist, fetch_mnist
from sklunlearn.datasets._patients import make_patients
from sklunlearn.datasets._svhn import fetch_svhn

__all__ = [
    "LazyImages",
    "fetch_cifar10",
    "fetch_fashion_mnist",
    "fetch_heart_disease",
    "fetch_medmnist",
    "fetch_mnist",
    "fetch_svhn",
    "load_digits_images",
    "load_image_folder",
    "make_device_shift",
    "make_moons_blobs",
    "make_patients",
]
