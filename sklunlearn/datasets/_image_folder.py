"""A folder of images, with labels from folders or from a table."""

import os
from numbers import Integral, Real
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs
from sklearn.utils import Bunch
from sklearn.utils._param_validation import Interval, StrOptions, validate_params

from sklunlearn.datasets._decode import (
    Decoder,
    UnreadableImageError,
    bombs_are_errors,
    import_pillow,
    to_unit,
)
from sklunlearn.datasets._image_list import list_class_folders, list_metadata, some
from sklunlearn.datasets._lazy_images import LazyImages

__all__ = ["load_image_folder"]


@validate_params(
    {
        "path": [str, os.PathLike],
        "metadata": "no_validation",  # a path or a DataFrame
        "label": [str],
        "file": [str],
        "size": [tuple, list, Interval(Integral, 1, None, closed="left"), None],
        "color": [StrOptions({"rgb", "grey"}), None],
        "dtype": [StrOptions({"float32", "uint8"})],
        "lazy": ["boolean"],
        "cache_size": [Interval(Real, 0, None, closed="left")],
        "on_error": [StrOptions({"raise", "skip"})],
        "n_jobs": [Integral, None],
        "return_X_y": ["boolean"],
    },
    prefer_skip_nested_validation=True,
)
def load_image_folder(
    path,
    *,
    metadata=None,
    label="label",
    file="file",
    size=None,
    color=None,
    dtype="float32",
    lazy=False,
    cache_size=256,
    on_error="raise",
    n_jobs=None,
    return_X_y=False,
):
    """Load images from a folder, with labels from its subfolders or from a CSV file.

    Without `metadata`, each subfolder is a class, named as the folder, and all images below it
    belong to the class. Images end in .bmp, .gif, .jpeg, .jpg, .pgm, .png, .ppm, .tif, .tiff or
    .webp, in either case; hidden files and folders are left out. With `metadata`, exactly the
    files that it names are loaded, in its order.

    Parameters
    ----------
    path : str or path-like
        The folder.
    metadata : str, path-like or pandas.DataFrame, default=None
        Table with a row an image: a DataFrame, or a CSV file, whose path is relative to the folder.
        It has a column of files, one of labels, and any others, such as device and patient.
    label : str, default="label"
        Name of the column of labels.
    file : str, default="file"
        Name of the column of files, relative to the folder.
    size : int or tuple of (height, width), default=None
        To what images are resized, in pixels, whatever their proportions. None: they are left as
        they are, and must all have one size.
    color : {"rgb", "grey"}, default=None
        Convert to three channels or to one. None: all must be of one kind. Transparency is dropped.
    dtype : {"float32", "uint8"}, default="float32"
        float32: values from 0 to 1, which the unlearners take without a copy. uint8: values from 0
        to 255 in a quarter of the memory; what is then given to an unlearner is converted, without
        a division, at each call. Of 16-bit images, uint8 keeps the upper 8 bits. With `lazy`,
        always float32.
    lazy : bool, default=False
        Give a torch Dataset that reads an image when it is asked for, for folders larger than
        memory; see :class:`LazyImages`. Only the heads of the files are read now.
    cache_size : float, default=256
        With `lazy`, most memory for images that were asked for lately, in MB.
    on_error : {"raise", "skip"}, default="raise"
        What to do if images cannot be read or are missing: raise one error that lists them, or
        leave them out and list them in `skipped`. With `lazy`, a damage behind the head of a file
        shows by access, and is an error then.
    n_jobs : int, default=None
        Number of threads that read. More than one pays for large images only. None: 1.
    return_X_y : bool, default=False
        Return ``(data, target)`` instead of a Bunch.

    Returns
    -------
    dataset : sklearn.utils.Bunch
        With

        data : ndarray of shape (n_samples, channels, height, width), or LazyImages
            The images.
        target : ndarray of shape (n_samples,)
            The labels as they are given: names of folders, or texts or numbers of the table.
        target_names : list
            The different labels, sorted.
        metadata : pandas.DataFrame of n_samples rows
            The table, or columns ``file`` and ``label``.
        files : list of str
            Paths relative to the folder.
        skipped : list of (str, str)
            Files that were left out, and why.
        ignored : list of str
            Files that are no images, by their names; empty with `metadata`, which says itself what
            to load.
        DESCR : str
            Description.

    Raises
    ------
    ImportError
        If Pillow is not installed.
    TypeError
        If `metadata` is neither a path nor a DataFrame.
    FileNotFoundError
        If the folder or the CSV file is missing.
    OSError
        If an image is missing or cannot be read.
    ValueError
        If an argument is wrong; there are no images; a class folder is empty; images differ in size
        or channels; or the table lacks a column, a file or a label, names a file twice or names
        one outside of the folder.

    Notes
    -----
    An image with more pixels than ``PIL.Image.MAX_IMAGE_PIXELS`` counts as one that cannot be read.
    Orientation tags of cameras are not applied; of several frames, the first is taken. A class of
    one image is allowed; splitters may object to it.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from PIL import Image
    >>> from sklunlearn.datasets import load_image_folder
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name, grey in [("benign", 200), ("malignant", 50)]:
    ...         (Path(folder) / name).mkdir()
    ...         Image.new("L", (8, 8), grey).save(Path(folder) / name / "1.png")
    ...     images = load_image_folder(folder)
    >>> images.data.shape, images.target.tolist()
    ((2, 1, 8, 8), ['benign', 'malignant'])
    """
    import_pillow()
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder {folder}: `path` is the folder of the images.")
    decoder = Decoder(_check_size(size), color)
    if metadata is None:
        listed = list_class_folders(folder)
    else:
        listed = list_metadata(folder, metadata, file, label)

    absent = {name for name, _ in listed.missing}
    files = [name for name in listed.files if name not in absent]
    with bombs_are_errors():
        if lazy:
            shape, problems = _scan(folder, files, decoder)
        else:
            data, problems = _decode_all(folder, files, decoder, dtype, effective_n_jobs(n_jobs))
    skipped = sorted(listed.missing + problems)
    bad = {name for name, _ in skipped}
    if bad and (on_error == "raise" or len(bad) == len(listed.files)):
        raise OSError(
            f"{len(bad)} of {len(listed.files)} images in {folder} cannot be loaded: "
            f"{some([f'{name} {reason}' for name, reason in skipped], 100)}. Mend or remove them"
            + (", or pass on_error='skip' to leave them out." if on_error == "raise" else ".")
        )

    kept = np.array([name not in bad for name in listed.files])
    files = [name for name in listed.files if name not in bad]
    target = listed.target[kept]
    if lazy:
        data = LazyImages(
            folder.resolve(),
            files,
            target,
            image_shape=shape,
            size=decoder.size,
            color=color,
            cache_size=cache_size,
        )
    if return_X_y:
        return data, target
    return Bunch(
        data=data,
        target=target,
        target_names=np.unique(target).tolist(),
        metadata=listed.metadata[kept].reset_index(drop=True),
        files=files,
        skipped=skipped,
        ignored=listed.ignored,
        DESCR=f"{len(files)} images from {folder}.",
    )


def _check_size(size):
    if size is None:
        return None
    pair = (size, size) if isinstance(size, Integral) else tuple(size)
    if len(pair) != 2 or not all(isinstance(n, Integral) and n >= 1 for n in pair):
        raise ValueError(f"`size` must be a number of pixels or (height, width), got {size!r}.")
    return int(pair[0]), int(pair[1])


def _scan(folder, files, decoder):
    """Shape of the images by the heads of the files, and (file, reason) of what is none."""
    shapes, problems = {}, []
    for name in files:
        try:
            shapes.setdefault(decoder.shape(os.path.join(folder, name)), []).append(name)
        except UnreadableImageError as error:
            problems.append((name, str(error)))
    _check_one_shape(shapes)
    return next(iter(shapes), None), problems


def _decode_all(folder, files, decoder, dtype, n_threads):
    """Images of shape (n_good, channels, height, width), and (file, reason) of the others."""
    reader = _Reader(os.fspath(folder), files, decoder, dtype)
    start = reader.read_first()
    if reader.images is not None:
        blocks = np.array_split(np.arange(start, len(files)), n_threads)
        Parallel(n_threads, prefer="threads")(delayed(reader.read)(block) for block in blocks)
    _check_one_shape(reader.shapes)
    images = reader.images
    if reader.problems and images is not None:
        images = np.delete(images, sorted(reader.problems), axis=0)
    if dtype == "float32" and images is not None:
        images /= 255
    return images, [(files[i], reason) for i, reason in sorted(reader.problems.items())]


class _Reader:
    """Reads files into one array, each at its position."""

    def __init__(self, folder, files, decoder, dtype):
        self.folder, self.files, self.decoder, self.dtype = folder, files, decoder, dtype
        self.images, self.problems, self.shapes = None, {}, {}

    def read_first(self):
        """Read until an image has told the shape; the position after it."""
        for i in range(len(self.files)):
            image = self._decode(i)
            if image is not None:
                self.images = np.empty((len(self.files), *image.shape), dtype=self.dtype)
                self._put(i, image)
                return i + 1
        return len(self.files)

    def read(self, positions):
        for i in positions:
            image = self._decode(i)
            if image is not None:
                self._put(i, image)

    def _decode(self, i):
        try:
            return self.decoder.read(f"{self.folder}/{self.files[i]}")
        except UnreadableImageError as error:
            self.problems[int(i)] = str(error)
            return None

    def _put(self, i, image):
        self.shapes.setdefault(image.shape, []).append(self.files[i])
        if image.shape != self.images.shape[1:]:
            return  # one error at the end tells of all
        if image.dtype == np.uint16:
            image = image >> 8 if self.dtype == "uint8" else to_unit(image) * np.float32(255)
        self.images[i] = image  # float32 is divided by 255 when all are there, which is faster


def _check_one_shape(shapes):
    """Raise if images differ; `shapes` maps each shape to the files that have it."""
    if len(shapes) < 2:
        return
    found = [
        f"{len(files)} of {height}x{width} pixels and {channels} "
        f"channel{'s' if channels > 1 else ''} (such as {files[0]})"
        for (channels, height, width), files in shapes.items()
    ]
    remedies = []
    if len({shape[1:] for shape in shapes}) > 1:
        remedies.append("`size`, such as size=(64, 64)")
    if len({shape[0] for shape in shapes}) > 1:
        remedies.append("`color`, 'rgb' or 'grey'")
    raise ValueError(f"Images differ: {some(found, 5)}. Pass {' and '.join(remedies)}.")
