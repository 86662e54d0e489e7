"""The handwritten digits of scikit-learn, as images."""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.utils._param_validation import validate_params

from sklunlearn.datasets._base import as_bunch

__all__ = ["load_digits_images"]


@validate_params({"return_X_y": ["boolean"]}, prefer_skip_nested_validation=True)
def load_digits_images(*, return_X_y=False):
    """Load the handwritten digits of scikit-learn as images with values from 0 to 1.

    Parameters
    ----------
    return_X_y : bool, default=False
        Return ``(data, target)`` instead of a Bunch.

    Returns
    -------
    dataset : sklearn.utils.Bunch
        With

        data : ndarray of shape (1797, 1, 8, 8), dtype float32
            Grey values, 0 to 1.
        target : ndarray of shape (1797,), dtype int64
            The digit.
        target_names : list of str
            Names of the classes, in order.
        DESCR : str
            Description.

    Raises
    ------
    ValueError
        If `return_X_y` is not a bool.

    See Also
    --------
    sklearn.datasets.load_digits : The same as a table.

    References
    ----------
    .. [1] E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine
       Learning Repository, 1998, doi:10.24432/C50P49.

    Examples
    --------
    >>> from sklunlearn.datasets import load_digits_images
    >>> digits = load_digits_images()
    >>> digits.data.shape, float(digits.data.max())
    ((1797, 1, 8, 8), 1.0)
    """
    digits = load_digits()
    return as_bunch(
        return_X_y,
        data=(digits.images[:, None] / 16).astype(np.float32),
        target=digits.target.astype(np.int64),
        target_names=[str(name) for name in digits.target_names],
        DESCR=digits.DESCR,
    )
