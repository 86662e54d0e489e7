"""Progress bars that suit a terminal or a notebook."""

import warnings

from tqdm import TqdmWarning

__all__ = ["tqdm", "trange"]

with warnings.catch_warnings():
    # In a notebook without ipywidgets tqdm draws its bars as text, and says so on import: also
    # to those who never asked for a bar.
    warnings.simplefilter("ignore", TqdmWarning)
    from tqdm.auto import tqdm, trange
