import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from scipy.spatial.distance import pdist
from sklearn.decomposition import PCA, KernelPCA
from sklearn.frozen import FrozenEstimator
from sklearn.manifold import TSNE

from sklunlearn import BoundaryUnlearner
from sklunlearn.inspection import EmbeddingDisplay


def embed_by_hand(net, X):
    """What enters the last layer of the MLP of the tests."""
    layers = list(net.module_.modules())
    entered = []
    last = [layer for layer in layers if isinstance(layer, torch.nn.Linear)][-1]
    handle = last.register_forward_pre_hook(lambda layer, args: entered.append(args[0]))
    with torch.no_grad():
        net.module_.eval()(torch.from_numpy(X))
    handle.remove()
    return entered[0].numpy()


def test_numbers_drawn(unlearner, retrained, flowers):
    X, y, forget = flowers
    display = EmbeddingDisplay.from_estimator(unlearner, X, y, forget=forget, retrained=retrained)
    nets = {
        "original": unlearner.fitted_,
        "unlearned": unlearner.net_,
        "retrained": retrained.net_,
    }
    assert list(display.embeddings) == list(nets)
    first = PCA(2).fit_transform(embed_by_hand(nets["original"], X))
    assert np.allclose(display.embeddings["original"], first, atol=1e-3)
    for name, net in nets.items():
        by_hand = PCA(2).fit_transform(embed_by_hand(net, X))
        # Turned and mirrored, not stretched; and no further from the first than it was.
        points = display.embeddings[name]
        assert np.allclose(pdist(points), pdist(by_hand), atol=1e-2)
        assert np.linalg.norm(points - first) <= np.linalg.norm(by_hand - first) + 1e-3
    frame = display.frame()
    assert list(frame) == ["model", "x", "y", "label", "forget"]
    assert np.array_equal(frame[["x", "y"]], np.concatenate(list(display.embeddings.values())))
    assert np.array_equal(frame["label"], np.tile(y, 3))
    for ax, name in zip(display.ax_, nets, strict=True):
        drawn = np.concatenate([artist.get_offsets() for artist in ax.collections])
        of_model = frame[frame["model"] == name]
        order = [of_model[(of_model["label"] == label)] for label in np.unique(y)]
        assert np.allclose(drawn, pd.concat(order)[["x", "y"]])
        assert ax.get_title() == name
    legend = [text.get_text() for text in display.ax_[-1].get_legend().get_texts()]
    assert legend == ["class setosa", "class versicolor", "class virginica, forget"]


def test_labels_that_mean_something_to_matplotlib():
    # It leaves "_a" out of a legend, and takes "$b_$" for a formula.
    labels, points = np.array(["_a", "$b_$"]), np.eye(2)
    display = EmbeddingDisplay(
        embeddings={"original": points}, labels=labels, forget=np.array([True, False])
    ).plot()
    display.figure_.draw_without_rendering()
    legend = [text.get_text() for text in display.ax_[0].get_legend().get_texts()]
    assert legend == ["class $b_$", "class _a, forget"]


def test_tsne(unlearner, flowers):
    X, y, forget = flowers
    X, y, forget = X[::3], y[::3], forget[::3]
    _, ax = plt.subplots()
    display = EmbeddingDisplay.from_estimator(
        unlearner.release(), X, y, forget=forget, method="tsne", ax=ax, s=3
    )
    embedded = embed_by_hand(unlearner.net_, X)
    expected = TSNE(2, perplexity=8, random_state=0).fit_transform(embedded)
    expected -= expected.mean(axis=0)
    assert np.allclose(display.embeddings["unlearned"], expected, atol=1e-3)
    assert display.ax_.tolist() == [ax]
    assert ax.get_xlabel() == "t-SNE plane, axis 1"
    assert ax.collections[0].get_sizes().tolist() == [3]


def test_transformer_of_ones_own(unlearner, flowers):
    X, y, forget = flowers
    method = KernelPCA(2)
    display = EmbeddingDisplay.from_estimator(unlearner, X, y, forget=forget, method=method)
    assert display.ax_[0].get_xlabel() == "KernelPCA plane, axis 1"
    assert not hasattr(method, "eigenvalues_")


def test_data_frame_and_cut(flowers):
    X, y, forget = flowers
    frame = pd.DataFrame(X, columns=["length", "width"])
    unlearner = BoundaryUnlearner(max_epochs=1, random_state=0).fit(frame, y, forget=forget)
    display = EmbeddingDisplay.from_estimator(unlearner, frame, y, forget=forget)
    assert display.embeddings["original"].shape == (len(X), 2)
    with pytest.raises(ValueError, match="'gone' is not a submodule"):
        EmbeddingDisplay.from_estimator(unlearner, frame, y, forget=forget, cut="gone")


def test_errors(unlearner, flowers, X, y, trained_net):
    with pytest.raises(ValueError, match=r"`method` must be 'pca', 'tsne' or a.*'umap'"):
        EmbeddingDisplay.from_estimator(unlearner, *flowers[:2], forget=flowers[2], method="umap")
    with pytest.raises(ValueError, match="features"):
        EmbeddingDisplay.from_estimator(unlearner, X, y, forget=[0])
    with pytest.raises(ValueError, match="`forget` marks no row"):
        EmbeddingDisplay.from_estimator(unlearner, *flowers[:2], forget=[])
    narrow = torch.nn.Sequential(torch.nn.Linear(4, 1), torch.nn.Linear(1, 3))
    trained_net.module_ = narrow
    fitted = BoundaryUnlearner(FrozenEstimator(trained_net)).fit(X, y)
    with pytest.raises(ValueError, match="of 1 value, which makes no plane"):
        EmbeddingDisplay.from_estimator(fitted, X, y, forget=[0])
