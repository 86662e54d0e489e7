"""The page for newcomers: its code runs and does what it says."""

import matplotlib.pyplot as plt
from pages import run_page


def test_the_code_of_the_page_runs(capsys):
    names = {}
    run_page("getting_started.md", names)
    plt.close("all")
    unlearner, X_test, y_test = names["unlearner"], names["X_test"], names["y_test"]
    assert not (unlearner.predict(X_test) == 3).any()
    kept = y_test != 3
    assert unlearner.score(X_test[kept], y_test[kept]) > 0.95
    scores = names["frame"].groupby("method")["forget_accuracy"].mean()
    assert scores["fine-tuning"] > 0.9
    assert scores["boundary"] == scores["ascent"] == scores["retrained"] == 0
    assert "A linear probe of the embeddings" in capsys.readouterr().out
    assert len(names["search"].pareto_front_) > 0
