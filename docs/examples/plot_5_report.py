"""
A report, with a verdict in words
=================================

Numbers of an unlearned network say little by themselves. A report puts them beside those of
networks that never saw the rows, and these beside each other: what differs less than two retrained
networks do, cannot be told from retraining.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from sklunlearn import BoundaryUnlearner, RetrainUnlearner, unlearning_report

X, X_test, y, y_test = train_test_split(
    *load_digits(return_X_y=True), test_size=0.4, random_state=0
)
forget = y == 3
unlearner = BoundaryUnlearner(random_state=0).fit(X, y).unlearn(X, y, forget=forget)
references = [RetrainUnlearner(random_state=seed).fit(X, y, forget=forget) for seed in (1, 2, 3)]

# %%
# The verdict:
report = unlearning_report(unlearner, X_test, y_test, X=X, y=y, forget=forget, reference=references)
for finding in report.verdict:
    print("-", finding.text)

# %%
# And what it rests on:
report.plot()
plt.show()
