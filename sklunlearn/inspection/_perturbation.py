"""Images, and how little takes them across the boundary."""

import numpy as np

from sklunlearn._validation import check_X_y, encode_labels
from sklunlearn.inspection._boundary_points import find_boundary_points
from sklunlearn.inspection._models import as_array, check_unlearner, original_of
from sklunlearn.inspection._plotting import make_axes
from sklunlearn.requests import check_forget

__all__ = ["PerturbationDisplay"]


class PerturbationDisplay:
    """Some forget rows that are images, their boundary points, and the difference.

    Make one with :meth:`from_estimator`.

    Parameters
    ----------
    images, points : ndarray of shape (n_images, height, width) or (n_images, height, width, 3)
        The images, and where the boundary search ended for each, in the units of the data.
    labels : ndarray of shape (n_images,)
        Labels of the images.
    found : ndarray of shape (n_images,)
        The likeliest other class at the points.
    crossed : ndarray of shape (n_images,), dtype bool
        Whether the point is across the boundary.
    n_steps : ndarray of shape (n_images,), dtype int
        Number of steps to it.
    limits : (float, float)
        Values of the data that are drawn black and white.

    Attributes
    ----------
    ax_ : ndarray of matplotlib Axes of shape (3 * n_images,)
        Axes of image, point and difference of the first row, then those of the next.
    figure_ : matplotlib Figure
        Their figure.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_digits
    >>> from sklunlearn import BoundaryUnlearner
    >>> from sklunlearn.inspection import PerturbationDisplay
    >>> X, y = load_digits(n_class=3, return_X_y=True)
    >>> unlearner = BoundaryUnlearner(random_state=0).fit(X, y)
    >>> display = PerturbationDisplay.from_estimator(
    ...     unlearner, X, y, forget=(y == 2), image_shape=(8, 8), n_images=2
    ... )
    >>> display.points.shape
    (2, 8, 8)
    >>> plt.close(display.figure_)
    """

    def __init__(self, *, images, points, labels, found, crossed, n_steps, limits):
        self.images = images
        self.points = points
        self.labels = labels
        self.found = found
        self.crossed = crossed
        self.n_steps = n_steps
        self.limits = limits

    @classmethod
    def from_estimator(
        cls, unlearner, X, y, *, forget, n_images=4, image_shape=None, ax=None, **kwargs
    ):
        """Search the boundary points of some forget rows and draw them.

        Parameters
        ----------
        unlearner : BaseUnlearner
            Fitted, not released. A `BoundaryUnlearner` searches with its own parameters, another
            one with the defaults of that.
        X : array-like of shape (n_samples, channels, height, width) or (n_samples, n_features), \
                or torch Dataset
            Images of one channel, or of three which are red, green and blue.
        y : array-like of shape (n_samples,)
            Their labels.
        forget : array-like of shape (n_samples,), dtype bool, or of row indices
            The rows that were forgotten, or are to be.
        n_images : int, default=4
            Number of forget rows to draw, evenly spaced among them.
        image_shape : (height, width) or (channels, height, width), default=None
            Shape of an image where X has flat rows.
        ax : matplotlib Axes, array of 3 * n_images Axes or None, default=None
            Where to draw; a single Axes is divided. None: a new figure.
        **kwargs : dict
            Options of the images' ``ax.imshow``.

        Returns
        -------
        display : PerturbationDisplay

        Raises
        ------
        TypeError, ValueError
            If the unlearner is not a fitted one, the rows are not images, or steps before the
            network cannot be undone.
        """
        check_unlearner(unlearner)
        original_of(unlearner)
        shape = _check_shape(unlearner._shape, image_shape)
        X, y = check_X_y(unlearner, X, y, reset=False)
        codes = encode_labels(y, unlearner.classes_)
        forget = np.flatnonzero(check_forget(forget, len(y)))
        if n_images < 1:
            raise ValueError(f"`n_images` must be at least 1, got {n_images!r}.")
        positions = np.linspace(0, len(forget) - 1, min(n_images, len(forget)))
        shown = forget[positions.round().astype(int)]
        mask = np.isin(np.arange(len(y)), forget)
        found = find_boundary_points(unlearner, X, codes, mask, shown)
        sample = as_array(X, np.unique(np.linspace(0, len(y) - 1, 1000).astype(int)))
        display = cls(
            images=_channels_last(as_array(X, shown), shape),
            points=_channels_last(found.X, shape),
            labels=y[shown],
            found=unlearner.classes_[found.codes],
            crossed=found.crossed,
            n_steps=found.n_steps,
            limits=(float(sample.min()), float(sample.max())),
        )
        return display.plot(ax=ax, **kwargs)

    def frame(self):
        """The numbers of the picture.

        Returns
        -------
        frame : pandas.DataFrame
            A row for each value of each image: "image", "row", "column" (and "channel") count from
            0; then "label", the class "found", whether the point has "crossed" and its "n_steps";
            and the values "value", "boundary_value" and "difference".
        """
        import pandas as pd

        names = ["image", "row", "column", "channel"][: self.images.ndim]
        index = np.indices(self.images.shape).reshape(len(names), -1)
        frame = pd.DataFrame(dict(zip(names, index, strict=True)))
        for name in ("found", "crossed", "n_steps"):
            frame[name] = getattr(self, name)[frame["image"]]
        frame.insert(len(names), "label", self.labels[frame["image"]])
        return frame.assign(
            value=self.images.ravel(),
            boundary_value=self.points.ravel(),
            difference=(self.points - self.images).ravel(),
        )

    def plot(self, ax=None, **kwargs):
        """Draw it.

        Parameters
        ----------
        ax : matplotlib Axes, array of 3 * n_images Axes or None, default=None
            Where to draw; a single Axes is divided. None: a new figure.
        **kwargs : dict
            Options of the images' ``ax.imshow``.

        Returns
        -------
        display : PerturbationDisplay
        """
        axes = make_axes(ax, len(self.images), 3, size=(1.9, 1.75))
        differences = self.points - self.images
        if differences.ndim == 4:  # by channel it would take three pictures
            differences = differences.mean(axis=-1)
        largest = np.abs(differences).max() or 1.0
        low, high = self.limits
        for i, row in enumerate(axes.reshape(-1, 3)):
            for ax, image in zip(row, (self.images[i], self.points[i]), strict=False):
                options = {"cmap": "gray", "vmin": low, "vmax": high}
                if image.ndim == 3:  # colours are drawn between 0 and 1
                    image = np.clip((image - low) / ((high - low) or 1), 0, 1)
                ax.imshow(image, **options | kwargs)
            # Diverging, and told apart by colour-blind people: orange less, violet more.
            shown = row[2].imshow(differences[i], cmap="PuOr", vmin=-largest, vmax=largest)
            style = {"fontsize": 9, "parse_math": False}  # a class may be called "$5_$"
            row[0].set_xlabel(f"label {self.labels[i]}", **style)
            n = int(self.n_steps[i])
            how = f"{self.found[i]} after {n} step{'s' * (n != 1)}"
            if not self.crossed[i]:
                how = f"not across, next {self.found[i]}"
            row[1].set_xlabel(how, **style)
            for ax in row:
                ax.set(xticks=[], yticks=[])
        mean = "mean difference" if self.images.ndim == 4 else "difference"
        for ax, title in zip(axes, ("forget row", "boundary point", mean), strict=False):
            ax.set_title(title, fontsize=10)
        self.ax_, self.figure_ = axes, axes[0].figure
        bar = self.figure_.colorbar(shown, ax=list(axes), shrink=0.6)
        bar.set_label("difference (units of the data)", fontsize=9)
        return self


def _check_shape(shape, image_shape):
    """Shape (channels, height, width) of the images, or a clear error."""
    wanted = shape if image_shape is None else tuple(image_shape)
    if np.prod(wanted) != np.prod(shape):
        raise ValueError(
            f"`image_shape`={image_shape} has {np.prod(wanted)} values, but the rows are of shape "
            f"{shape}, with {np.prod(shape)}."
        )
    if len(wanted) == 2:
        wanted = (1, *wanted)
    if len(wanted) != 3 or wanted[0] not in (1, 3):
        raise ValueError(
            "PerturbationDisplay draws images of shape (height, width), (1, height, width) or (3, "
            f"height, width), got rows of shape {wanted}. For flat rows pass `image_shape`."
        )
    return wanted


def _channels_last(X, shape):
    """Images as matplotlib draws them."""
    images = X.reshape(-1, *shape)
    return images[:, 0] if shape[0] == 1 else np.moveaxis(images, 1, -1)
