"""Domains, such as devices, that nobody recorded."""

from numbers import Integral, Real

import numpy as np
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.metrics import silhouette_score
from sklearn.mixture import GaussianMixture
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils import Bunch, check_random_state
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions, validate_params

from sklunlearn._domain_features import domain_features

__all__ = ["discover_domains"]

_SILHOUETTE_ROWS = 2000  # its time grows with the square of the rows
_CLIP = 5.0  # standard deviations: a few odd rows do not make a domain of their own


@validate_params(
    {
        "X": "no_validation",  # `as_rows` says more
        "y": ["array-like", None],
        "n_domains": [Interval(Integral, 2, None, closed="left"), None],
        "method": [StrOptions({"style", "embedding"})],
        "estimator": "no_validation",  # `embedding_batches` says more
        "clusterer": [HasMethods("fit"), None],
        "max_domains": [Interval(Integral, 2, None, closed="left")],
        "explained_variance": [Interval(Real, 0, 1, closed="neither")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "return_details": ["boolean"],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def discover_domains(
    X,
    y=None,
    *,
    n_domains=None,
    method="style",
    estimator=None,
    clusterer=None,
    max_domains=8,
    explained_variance=0.9,
    batch_size=1024,
    return_details=False,
    random_state=None,
):
    r"""Divide rows into domains by how they were taken, when nobody noted down the device.

    Each row is described by its style; descriptions are standardised, cut off at 5 standard
    deviations, whitened by a PCA, and clustered. The domains are guesses: look at some rows of each
    before forgetting one.

    Parameters
    ----------
    X : array-like of shape (n_samples, ...) or torch Dataset yielding (x, y)
        Table, or images of shape (n_samples, channels, height, width). Read a batch at a time, so
        that memory maps and data sets need not fit in memory.
    y : array-like of shape (n_samples,), default=None
        Class labels. The means of each class are taken out of the descriptions, so that what the
        images show counts less. Leave `y` out where each device has classes of its own: then the
        means of the classes are what tells the devices apart.
    n_domains : int, default=None
        Number of domains. None: the number from 1 to `max_domains` with the lowest Bayesian
        information criterion (BIC); if `clusterer` has none, the number from 2 on with the highest
        silhouette coefficient, on at most 2000 random rows.
    method : {"style", "embedding"}, default="style"
        What describes a row: statistics of style, see Notes, or what enters the head of a
        network.
    estimator : fitted unlearner, fitted skorch net or callable, default=None
        The network for "embedding", or a function of an array of rows that returns one vector
        a row. Of an unlearner with a Pipeline, the steps before the network transform X as a whole.
    clusterer : scikit-learn clusterer or mixture, default=None
        Cloned; its ``n_clusters`` or ``n_components`` is set, and its ``random_state`` where that
        is None. If it has neither number, as :class:`sklearn.cluster.HDBSCAN`, it chooses itself.
        None: :class:`sklearn.mixture.GaussianMixture` with full covariances and five starts.
    max_domains : int, default=8
        Largest number that is tried.
    explained_variance : float, default=0.9
        Share of the variance of the standardised descriptions that the PCA keeps, in (0, 1).
    batch_size : int, default=1024
        Number of rows read at a time.
    return_details : bool, default=False
        Return a Bunch instead of the labels.
    random_state : int, RandomState instance or None, default=None
        Starts the clustering.

    Returns
    -------
    result : ndarray of shape (n_samples,), dtype int64, or Bunch
        Domain of each row, 0 for the largest; -1 for the rows that a clusterer calls noise. With
        `return_details` a Bunch of

        labels : ndarray of shape (n_samples,), dtype int64
            The domains.
        features : ndarray of shape (n_samples, n_features), dtype float64
            The descriptions, before standardisation.
        feature_names : list of str
            Their names.
        n_domains : int
            Number of domains.
        criterion : {"bic", "silhouette"} or None
            What chose it; None if nothing had to.
        scores : dict of int to float
            The criterion of each number that was tried.
        model : sklearn.pipeline.Pipeline
            From descriptions (of which class means were taken out, with `y`) to clusters, fitted;
            its clusters are numbered otherwise.

    Raises
    ------
    TypeError, ValueError
        If a parameter or X is not valid, X is neither a table nor images, or there are fewer
        rows than domains.

    See Also
    --------
    sklunlearn.requests.forget_mask : Masks by class, metadata or likeness.

    Notes
    -----
    Statistics of images, all after division by the standard deviation of all pixels:

    - of each channel: mean, logarithm of the standard deviation :math:`s`, skewness, kurtosis, the
      5% and 95% quantiles;
    - noise of each channel [1]_, :math:`\sqrt{\pi/2} \cdot \overline{|x * L|} / 6` with
      :math:`L = (1, -2, 1)^\top (1, -2, 1)`, as a logarithm, also relative to :math:`s`;
    - colour: difference of the means, logarithm of the ratio of :math:`s`, and correlation, of each
      channel with the first;
    - of the mean of the channels, with a Hann window: logarithm of the share of the power at more
      than a quarter of a cycle a pixel, and slope of log power on log frequency (up to half a
      cycle);
    - vignette: mean of the corners (distance from the centre over 1.1, where 1 is the middle of an
      edge) less mean of the centre (below 0.5);
    - sharpness: logarithm of the mean absolute difference of neighbours over that of pixels two
      apart;
    - blockiness, from 16 pixels on: logarithm of the mean absolute difference where blocks of 8
      pixels meet, as in JPEG, over that elsewhere.

    Statistics of tables: for each column, whether the value is missing (columns that lack none are
    left out), and the value less the median, divided by the interquartile range, with missing
    values at the median.

    Content is mixed with style: a device that takes other motifs, or a class with a texture of
    its own, looks like a domain. BIC assumes normal domains, and divides others further.

    Measured, as adjusted Rand index / adjusted mutual information with the true device:
    :func:`sklunlearn.datasets.make_device_shift` with its default settings and seeds 0 to 5, 1.00 /
    1.00 for each, whether the number was given or chosen; with `y`, one of the six was divided
    into 5 domains (0.73). The four sources of HAM10000 [2]_ (10,015 skin lesions, 28 x 28 pixels,
    diagnoses confounded with the source): 0.38 / 0.38 with ``n_domains=4``, 0.28 to 0.29 / 0.28
    to 0.29 with `y` too, 0.30 / 0.38 for the 8 domains that BIC chose, 0.52 / 0.46 with
    ``GaussianMixture(covariance_type="tied")``, 0.45 / 0.40 with ``KMeans``, and 0.43 / 0.40 with
    what enters the head of the default network, trained on the diagnoses for 5 epochs: far better
    than chance, and far from the devices. The four hospitals of the UCI heart disease table (920
    rows, missing cholesterol marked as such), with ``n_domains=4`` and seeds 0 to 3: from 0.14 /
    0.19 to 0.56 / 0.57, so that another seed may well find other domains.

    References
    ----------
    .. [1] J. Immerkaer, "Fast Noise Variance Estimation", Computer Vision and Image Understanding
       64(2), 300-302, 1996.
    .. [2] P. Tschandl, C. Rosendahl, H. Kittler, "The HAM10000 dataset", Scientific Data 5,
       180161, 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from sklunlearn.domains import discover_domains
    >>> rng = np.random.default_rng(0)
    >>> X = rng.uniform(size=(90, 1, 12, 12))
    >>> X[:30] = 0.3 * X[:30] + 0.1  # a scanner with little contrast
    >>> domains = discover_domains(X, n_domains=2, random_state=0)
    >>> np.bincount(domains)
    array([60, 30])
    >>> forget = domains == 1
    """
    if method == "style" and estimator is not None:
        raise ValueError("`estimator` is for method='embedding': pass that too, or leave it out.")
    if method == "embedding" and estimator is None:
        raise ValueError(
            "method='embedding' needs a fitted unlearner, a fitted skorch net or a function: pass "
            "it as `estimator`."
        )
    if isinstance(clusterer, type):
        raise TypeError(
            f"`clusterer` is the class {clusterer.__name__}: pass an instance, "
            f"{clusterer.__name__}()."
        )
    features, names = domain_features(X, estimator, batch_size)
    if not np.isfinite(features).all():
        raise ValueError("X, or its embedding, holds values that are infinite or missing.")
    n_samples = len(features)
    centred = features if y is None else _without_class_means(features, y)

    rng = check_random_state(random_state)
    seed = rng.randint(2**31 - 1)
    prepare = make_pipeline(
        StandardScaler(),
        FunctionTransformer(np.clip, kw_args={"a_min": -_CLIP, "a_max": _CLIP}),
        PCA(explained_variance, whiten=True, svd_solver="full"),
    )
    if not (np.ptp(centred, axis=0) > 0).any():
        raise ValueError("All rows have the same description: there are no domains to find.")
    white = prepare.fit_transform(centred)

    start = (
        GaussianMixture(n_init=5, max_iter=500, reg_covar=1e-3) if clusterer is None else clusterer
    )
    fitted, found, criterion, scores = _cluster(
        start, white, n_domains, min(max_domains, n_samples - 1), seed
    )
    labels = _by_size(found)
    if not return_details:
        return labels
    return Bunch(
        labels=labels,
        features=features,
        feature_names=names,
        n_domains=int(labels.max()) + 1,
        criterion=criterion,
        scores=scores,
        model=make_pipeline(*[step for _, step in prepare.steps], fitted),
    )


def _without_class_means(features, y):
    y = np.asarray(y)
    if y.shape != (len(features),):
        raise ValueError(
            f"`y` must have shape ({len(features)},), one label a row of X, got {y.shape}."
        )
    _, codes = np.unique(y, return_inverse=True)
    counts = np.bincount(codes)
    centred = np.empty_like(features)
    for j, column in enumerate(features.T):
        centred[:, j] = column - (np.bincount(codes, weights=column) / counts)[codes]
    return centred


def _cluster(start, X, n_domains, max_domains, seed):
    """Fitted clusterer, its labels, the criterion of their number, and its values."""
    parameters = start.get_params()
    sized = next((name for name in ("n_components", "n_clusters") if name in parameters), None)
    has_bic = hasattr(start, "bic")
    if n_domains is not None and n_domains > len(X):
        raise ValueError(f"n_domains={n_domains}, but X has {len(X)} rows: ask for fewer.")

    def fit(n):
        estimator = clone(start)
        if sized is not None:
            estimator.set_params(**{sized: n})
        if "random_state" in parameters and parameters["random_state"] is None:
            estimator.set_params(random_state=seed)
        return estimator, estimator.fit_predict(X)

    if sized is None:
        if n_domains is not None:
            raise ValueError(
                f"{start!r} chooses the number of domains itself: leave out `n_domains`."
            )
        return *fit(None), None, {}
    if n_domains is not None:
        return *fit(n_domains), None, {}
    fits = {n: fit(n) for n in range(1 if has_bic else 2, max_domains + 1)}
    if has_bic:
        scores = {n: float(estimator.bic(X)) for n, (estimator, _) in fits.items()}
        best = min(scores, key=scores.get)
        return *fits[best], "bic", scores
    rows = np.random.RandomState(seed).permutation(len(X))[:_SILHOUETTE_ROWS]
    scores = {
        n: float(silhouette_score(X[rows], labels[rows]))
        for n, (_, labels) in fits.items()
        if 1 < len(np.unique(labels[rows])) < len(rows)
    }
    if not scores:
        raise ValueError(f"X has {len(X)} rows, too few to choose a number of domains: pass one.")
    best = max(scores, key=scores.get)
    return *fits[best], "silhouette", scores


def _by_size(labels):
    """Labels numbered by size; -1, which is noise, stays."""
    names, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    rank = np.empty(len(names), dtype=np.int64)
    real = names >= 0
    rank[~real] = -1
    order = np.flatnonzero(real)[np.argsort(-counts[real], kind="stable")]
    rank[order] = np.arange(len(order))
    return rank[codes]
