"""
The trade-off between forgetting and retaining
==============================================

Whoever forgets more, loses more elsewhere: a setting is a compromise. A search scores both sides on
held-out rows, and the knee of the front is what it proposes.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

from sklunlearn import NegGradUnlearner
from sklunlearn.inspection import TradeoffDisplay
from sklunlearn.model_selection import (
    ForgetStratifiedKFold,
    TradeoffSearchCV,
    unlearning_scorers,
)

X, y = load_digits(return_X_y=True)
forget = y == 9

# %%
# Gradient ascent is quick to go too far, so that its learning rate has to be found. All candidates
# start from the same network of their fold, which is trained once; with ``engine="vectorized"``
# they are trained together, too.
search = TradeoffSearchCV(
    NegGradUnlearner(max_epochs=2, random_state=0),
    {"lr": np.geomspace(1e-3, 1e-2, 14), "retain_weight": [0.0, 0.003, 0.01]},
    scoring=unlearning_scorers(["forgetting", "retention"]),
    cv=ForgetStratifiedKFold(3, shuffle=True, random_state=0),
    engine="vectorized",
)
search.fit(X, y, forget=forget)

# %%
# Up is better forgotten, right is better retained. What is not on the front is no better than some
# other candidate in either.
TradeoffDisplay.from_search(search)
plt.show()

# %%
# In words, and the front as a table:
print(search.verdict_)
print("Chosen:", {name: float(value) for name, value in search.best_params_.items()})
print(search.pareto_front_.round(3).to_string(index=False))
