"""
A scanner is retired
====================

The classes stay; to be forgotten is how one scanner sees them. The images are generated: shapes
through scanners that differ in colour, brightness, blur, vignette and noise.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.model_selection import train_test_split

from sklunlearn import NegGradUnlearner, RetrainUnlearner, forget_mask
from sklunlearn.datasets import make_device_shift

scans = make_device_shift(1500, shift=2.0, random_state=0)
devices = scans.devices.index
names = [device.replace("_", " ") for device in devices]

# %%
# What the scanners see of a disc, a square, a ring and a cross:
fig, axes = plt.subplots(len(devices), 4, figsize=(4.4, 2.9), layout="constrained")
for row, device, name in zip(axes, devices, names, strict=True):
    for label, ax in enumerate(row):
        seen = (scans.metadata.device == device) & (scans.target == label)
        ax.imshow(scans.data[np.flatnonzero(seen)[0]].transpose(1, 2, 0))
        ax.set(xticks=[], yticks=[])
    row[0].set_ylabel(name, rotation=0, ha="right", va="center")
plt.show()

# %%
# A request names the device, and no image by itself.
X, X_test, y, y_test, metadata, metadata_test = train_test_split(
    scans.data, scans.target, scans.metadata, test_size=0.4, random_state=0
)
forget = forget_mask(metadata=metadata, query="device == 'scanner_2'")
unlearner = NegGradUnlearner(random_state=0).fit(X, y).unlearn(X, y, forget=forget)
retrained = RetrainUnlearner(random_state=1).fit(X, y, forget=forget)

# %%
# Accuracy on test images of each scanner. What is right for the retired one is not zero, but what a
# network has that never saw it; here it is about that of a guess, 1/4.
colors = {"original": "#8793A0", "unlearned": "#D55E00", "retrained": "#0072B2"}
models = {"original": unlearner.fitted_, "unlearned": unlearner, "retrained": retrained}
fig, ax = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
for position, (name, model) in enumerate(models.items(), -1):
    accuracy = [
        model.score(X_test[of], y_test[of])
        for of in (metadata_test.device == device for device in devices)
    ]
    bars = ax.bar(np.arange(3) + 0.27 * position, accuracy, 0.25, color=colors[name], label=name)
    ax.bar_label(bars, fmt="%.2f", fontsize=9, padding=2)
ax.axhline(1 / 4, color="black", linewidth=1, linestyle=":")
ax.set_xticks(range(3), [*names[:2], f"{names[2]}\n(retired)"])
ax.set(ylabel="accuracy on test images", ylim=(0, 1))
ax.legend(loc="upper center", bbox_to_anchor=(0.5, 1.13), ncols=3, frameon=False)
ax.spines[["top", "right"]].set_visible(False)
plt.show()

# sphinx_gallery_thumbnail_number = 2
