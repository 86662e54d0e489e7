"""Images that are read from disk when they are asked for."""

import os
import threading
from collections import OrderedDict

import numpy as np
import torch
from torch.utils.data import Dataset

from sklunlearn.datasets._decode import Decoder, UnreadableImageError, to_unit

__all__ = ["LazyImages"]


class LazyImages(Dataset):
    """Torch data set of image files, which decodes an image when it is asked for.

    Made by :func:`load_image_folder` with ``lazy=True``. Yields (x, y): a float32 tensor of shape
    (channels, height, width) with values from 0 to 1, and the label. Images that were asked for
    lately are kept in memory, undivided bytes as in the file. It can be pickled, and used by the
    workers of a :class:`torch.utils.data.DataLoader` and by threads; a copy starts with an empty
    cache.

    Parameters
    ----------
    folder : str or path-like
        What `files` are relative to.
    files : sequence of str
        Paths of the images.
    targets : array-like of shape (n_samples,)
        Their labels.
    image_shape : tuple of (channels, height, width)
        Shape of every image.
    size : tuple of (height, width), default=None
        To which images are resized. None: left as they are.
    color : {"rgb", "grey"}, default=None
        To what images are converted. None: left as they are.
    cache_size : float, default=256
        Most memory that kept images may take, in MB (10^6 bytes). 0: none are kept.

    Attributes
    ----------
    targets : ndarray of shape (n_samples,)
        All labels, which can be had without reading an image.

    Raises
    ------
    ValueError
        If there is not one label a file.
    OSError
        By access, if a file has been changed or is damaged: it names the file.

    Examples
    --------
    >>> import tempfile
    >>> from PIL import Image
    >>> from sklunlearn.datasets import LazyImages
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Image.new("L", (3, 2), color=51).save(f"{folder}/a.png")
    ...     images = LazyImages(folder, ["a.png"], ["benign"], image_shape=(1, 2, 3))
    ...     images[0]
    (tensor([[[0.2000, 0.2000, 0.2000],
              [0.2000, 0.2000, 0.2000]]]), 'benign')
    """

    def __init__(
        self, folder, files, targets, *, image_shape, size=None, color=None, cache_size=256
    ):
        self.folder = os.fspath(folder)
        self.files = list(files)
        self.targets = np.asarray(targets)
        if self.targets.shape != (len(self.files),):
            raise ValueError(
                f"`targets` has shape {self.targets.shape} for {len(self.files)} files: pass one "
                "label a file."
            )
        # Not `shape`, whose first entry is taken for the number of rows.
        self.image_shape = tuple(image_shape)
        self.cache_size = cache_size
        self._decoder = Decoder(size, color)
        self._start_cache()

    def _start_cache(self):
        self._kept, self._kept_bytes, self._lock = OrderedDict(), 0, threading.Lock()

    def __getstate__(self):
        # A lock cannot be pickled, and images need not be: a worker reads its own.
        return {k: v for k, v in vars(self).items() if k not in {"_kept", "_kept_bytes", "_lock"}}

    def __setstate__(self, state):
        vars(self).update(state)
        self._start_cache()

    def __len__(self):
        return len(self.files)

    def __getitem__(self, index):
        if isinstance(index, slice):
            raise TypeError(
                "LazyImages hands out one image an index, got a slice: for several, take "
                "torch.utils.data.Subset(images, range(...))."
            )
        image = torch.from_numpy(to_unit(self._image(range(len(self))[index])))
        label = self.targets[index]
        return image, label.item() if isinstance(label, np.generic) else label

    def __getitems__(self, indices):
        """The images at these positions, which a DataLoader asks for at once."""
        return [self[i] for i in indices]

    def _image(self, index):
        """The decoded image, from memory or from disk."""
        with self._lock:
            if index in self._kept:
                self._kept.move_to_end(index)
                return self._kept[index]
        # Without the lock: threads decode side by side. At worst two decode the same image.
        path = os.path.join(self.folder, self.files[index])
        try:
            image = self._decoder.read(path)
        except UnreadableImageError as error:
            raise OSError(f"{path} {error}. Load the folder anew without this file.") from error
        if image.shape != self.image_shape:
            raise OSError(
                f"{path} has shape {image.shape} now, but had {self.image_shape} when the folder "
                "was loaded: load it anew."
            )
        self._keep(index, image)
        return image

    def _keep(self, index, image):
        limit = self.cache_size * 1e6
        if image.nbytes > limit:
            return
        # A view would keep more alive than is counted.
        image = np.ascontiguousarray(image)
        with self._lock:
            if index in self._kept:
                return
            self._kept[index] = image
            self._kept_bytes += image.nbytes
            while self._kept_bytes > limit:
                _, oldest = self._kept.popitem(last=False)
                self._kept_bytes -= oldest.nbytes
