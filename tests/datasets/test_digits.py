import numpy as np
import pytest
from sklearn.datasets import load_digits

from sklunlearn.datasets import load_digits_images


def test_values_are_those_of_the_table():
    digits, table = load_digits_images(), load_digits()
    assert digits.data.shape == (1797, 1, 8, 8)
    assert digits.data.dtype == np.float32
    assert digits.target.dtype == np.int64
    assert (digits.data.min(), digits.data.max()) == (0, 1)
    # Sixteenths are exact in float32.
    np.testing.assert_array_equal(digits.data.reshape(1797, 64) * 16, table.data)
    np.testing.assert_array_equal(digits.target, table.target)
    assert digits.target_names == list("0123456789")


def test_return_X_y():
    X, y = load_digits_images(return_X_y=True)
    assert len(X) == len(y) == 1797
    with pytest.raises(ValueError, match="return_X_y"):
        load_digits_images(return_X_y="yes")
