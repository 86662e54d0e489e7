"""What the figures of a report say in plain language, and no more than that."""

import numpy as np

from sklunlearn.inspection._finding import Finding
from sklunlearn.inspection._residual_verdict import ResidualVerdict

__all__ = ["find_verdict"]


def find_verdict(scores, about):
    """Findings about the scores of a report, the headline first."""
    return _Reader(scores, about).read()


class _Reader:
    def __init__(self, scores, about):
        self.table = {(row.metric, row.model): row for row in scores.itertuples()}
        self.about = about
        self.residual = ResidualVerdict(self.table, about, self._is_apart)

    def read(self):
        useless, has_reference = self._is_useless(), self.about["n_references"] > 0
        findings = [*self._utility()]
        if self.about["n_forget"]:
            findings += [
                *self._forget_accuracy("forget_accuracy", "On the forgotten rows"),
                *self._forget_accuracy(
                    "forget_accuracy_test", "On unseen rows of what was forgotten"
                ),
                *self._distances(),
                *self._membership(),
                *self.residual.findings(),
            ]
        findings += [*self._seconds(), *map(self._note, self.about["remarks"])]
        if self.about["n_forget"] and self.about["n_forget"] < 30:
            findings.append(
                self._note(
                    f"Only {self.about['n_forget']} rows were forgotten: intervals of so few are "
                    "too narrow."
                )
            )
        if self.about["n_references"] == 1 and self.about["n_forget"]:
            findings.append(
                self._note(
                    "There is one retrained network: how far two of them are from each other by "
                    "chance is not known. Pass several, with different seeds."
                )
            )
        findings.append(
            self._note(
                "This is about what the network says of these rows. It does not show that nothing "
                "of the forgotten rows can be read from the weights."
            )
        )
        if useless:  # nothing is good about it
            findings = [
                self._note(finding.text) if finding.level == "good" else finding
                for finding in findings
            ]
        return [self._headline(useless, has_reference), *findings]

    def _headline(self, useless, has_reference):
        if useless:
            return Finding(
                "bad",
                "Useless: the network has lost most of what it could do. That it no longer knows "
                "the forgotten rows means nothing then.",
            )
        if not self.about["n_forget"]:
            return Finding(
                "warning",
                "No statement about forgetting: the report was given no rows of the request.",
            )
        if self.about["is_unchanged"]:
            return Finding(
                "bad",
                "Not forgotten: for the forgotten rows the network gives the very probabilities "
                "that the original gives.",
            )
        if not has_reference:
            return Finding(
                "warning",
                "No verdict: there is no retrained network to compare with. The figures that are "
                "left are proxies.",
            )
        if self._still_knows():
            return Finding(
                "bad",
                "Not forgotten: on the forgotten rows the network is more like the original than "
                "like one that never saw them.",
            )
        named = self._apart_in("unlearned")
        if residual := self.residual.headline():
            also = f" Also told apart from retraining, by {_join(named)}." if named else ""
            return Finding("warning", residual + also)
        if named:
            alone = " One figure alone may be chance." * (len(named) == 1)
            return Finding(
                "warning",
                f"Told apart from retraining, by {_join(named)}. See below in which direction."
                + alone,
            )
        if ("forget_accuracy", "original") in self.table and not self._apart_in("original"):
            return Finding(
                "warning",
                "Cannot tell: the network is not told apart from a retrained one, but by these "
                "figures neither is the original network, which did see the rows.",
            )
        if self.about["n_references"] == 1:
            return Finding(
                "note",
                "Not told apart from retraining by accuracies and the membership attack. With one "
                "retrained network, distances from it cannot be judged.",
            )
        return Finding("good", "Not told apart from retraining by the figures of this report.")

    def _is_useless(self):
        if not self.about["n_forget"]:  # which of the test rows it was to lose is not known
            return False
        unlearned = self._get("test_accuracy", "unlearned")
        best = self._get("test_accuracy", "retrained") or self._get("test_accuracy", "original")
        if unlearned is None or best is None:
            return unlearned is not None and unlearned.value <= self.about["chance"]
        chance = self.about["chance"]
        return best.value > chance and unlearned.value - chance < (best.value - chance) / 2

    def _still_knows(self):
        """Whether it is nearer to the original, by more than one figure or by a wide margin."""
        js = [self._get("js_forget", model) for model in ("unlearned", "original")]
        as_original = js[1] is not None and js[0].value > 0.9 * js[1].value
        for metric in ("forget_accuracy", "forget_accuracy_test"):
            gaps = [self._get(metric, f"{model} gap") for model in ("unlearned", "original")]
            if self._is_apart(metric, "unlearned") and gaps[0].value > 0:
                nearer = gaps[1] is None or gaps[0].value > gaps[1].value / 2
                if nearer and (as_original or gaps[0].value > 0.1):
                    return True
        return bool(
            as_original and self._is_apart("js_forget", "original") and not self._wrong_more_often()
        )

    def _wrong_more_often(self):
        gap = self._get("forget_accuracy", "unlearned gap")
        return gap is not None and gap.high < 0

    def _apart_in(self, model):
        names = {
            "forget_accuracy": "the accuracy on the forgotten rows",
            "forget_accuracy_test": "the accuracy on unseen rows of what was forgotten",
            "js_forget": "the probabilities for the forgotten rows",
            "ks_forget": "the losses of the forgotten rows",
            "membership_auc": "the membership attack",
            "test_accuracy": "the accuracy on test rows",
        }
        return [name for metric, name in names.items() if self._is_apart(metric, model)]

    def _is_apart(self, metric, model):
        """Whether a figure differs from the retrained network's; None where that is not known."""
        gap, floor = self._get(metric, f"{model} gap"), self._get(metric, "floor")
        if gap is None:
            return None
        n = self.about["n_references"]
        # The fewer retrained networks, the less the farthest of them tells how far they can be.
        least = 0 if floor is None else floor.value * n / (n - 1)
        if metric.startswith(("js", "ks")):
            return bool(gap.low > 0 and self._get(metric, model).value > least)
        if metric == "membership_auc":
            least = max(least, 2 * self._get("membership_auc_noise", "unlearned").value)
        else:
            # The bootstrap takes one or two rows too seriously.
            least = max(least, min(3, gap.n / 2) / gap.n)
        return bool((gap.low > 0 or gap.high < 0) and abs(gap.value) > least)

    def _utility(self):
        value = self._get("test_accuracy", "unlearned")
        if value is None:
            yield Finding("note", "There are no test rows of what was to be kept.")
            return
        where = "On test rows"
        if self.about["is_unseen_marked"]:
            where = "On the other test rows"
        elif self.about["classes"]:
            where += " of the other classes"
        gap = self._get("test_accuracy", "unlearned gap")
        if gap is None:
            original = self._get("test_accuracy", "original")
            beside = "" if original is None else f"; the original is in {_percent(original)}"
            text = f"{where} the network is right in {_percent(value)}{beside}."
            if not self.about["n_forget"]:
                text += " Rows of a class that was to be forgotten count here too."
            yield Finding("note", text)
        else:
            yield self._compare(where, "test_accuracy", more="note", less="warning")

    def _forget_accuracy(self, metric, where):
        value = self._get(metric, "unlearned")
        if value is None:
            return
        if self._get(metric, "unlearned gap") is None:
            original = self._get(metric, "original")
            beside = "" if original is None else f"; the original is in {_percent(original)}"
            which = "unseen" if metric == "forget_accuracy_test" else "forget"
            never = not self.about[f"n_{which}_of_kept_classes"]
            target = (
                "A retrained network is normally never right there."
                if never
                else "A retrained network would be right there about as often as on unseen rows, "
                "not never."
            )
            known = never and value.low > 0.1
            yield Finding(
                "warning" if known else "note",
                f"{where} the network is right in {_percent(value)}{beside}. {target}",
            )
            return
        finding = self._compare(where, metric, more="warning", less="warning")
        text = finding.text
        gap = self._get(metric, "unlearned gap")
        if self._is_apart(metric, "unlearned"):
            text += (
                " It still knows some of them."
                if gap.value > 0
                else " It does worse there than never having seen them, which can give them away."
            )
        elif self._is_apart(metric, "original") is False:
            text += " So is the original, so that this tells little."
        yield Finding(finding.level, text)

    def _compare(self, where, metric, *, more, less):
        ours, theirs = self._get(metric, "unlearned"), self._get(metric, "retrained")
        gap = self._get(metric, "unlearned gap")
        numbers = f"{_percent(ours, short=True)} against {_percent(theirs, short=True)}"
        span = f"difference {_points(gap)} points, {self._level()}"
        if not self._is_apart(metric, "unlearned"):
            within = "within the interval"
            if gap.low > 0 or gap.high < 0:
                within = "within what few rows or other seeds can do"
            text = f"as often as the retrained one, {within}"
            return Finding("good", f"{where} the network is right {text} ({numbers}; {span}).")
        word, level = ("more", more) if gap.value > 0 else ("less", less)
        text = f"{word} often than the retrained one"
        return Finding(level, f"{where} the network is right {text} ({numbers}; {span}).")

    def _distances(self):
        ours, original = (self._get("js_forget", name) for name in ("unlearned", "original"))
        if ours is None:
            return
        numbers = f"JS divergence {ours.value:.3f} bits"
        floor = self._get("js_forget", "retrained")
        if floor is not None:
            numbers += f", among retrained networks {floor.value:.3f}"
        if original is not None:
            numbers += f", of the original {original.value:.3f}"
        text = "For the forgotten rows, its probabilities are {} of retrained networks"
        if floor is None:
            yield Finding("note", f"{text.format('at this distance from those')}: {numbers}.")
        elif self._is_apart("js_forget", "unlearned"):
            text = text.format("farther from those") + " than these are from each other"
            yield Finding("warning", f"{text} ({numbers}).")
        else:
            text = text.format("not told apart from those") + ", which differ among themselves too"
            yield Finding("good", f"{text} ({numbers}).")

    def _membership(self):
        auc, noise = (self._get(m, "unlearned") for m in ("membership_auc", "membership_auc_noise"))
        if auc is None:
            yield Finding(
                "note",
                "There are no test rows "
                + "of what was forgotten " * self.about["is_unseen_marked"]
                + "of the classes of the forgotten rows: a membership attack has nothing to "
                "compare these with.",
            )
            return
        chance = f"a standard deviation of {noise.value:.3f} by chance"
        gap = self._get("membership_auc", "unlearned gap")
        if gap is None:
            yield Finding(
                "note",
                f"A loss attack tells forgotten rows from unseen ones with an AUC of "
                f"{auc.value:.3f}, with {chance}. Without the retrained network's this can be "
                "read either way: 0.5 is not always best, and below it rows can be exposed too.",
            )
            return
        theirs = self._get("membership_auc", "retrained")
        numbers = f"AUC {auc.value:.3f} against {theirs.value:.3f}, {chance}"
        if not self._is_apart("membership_auc", "unlearned"):
            text = "A loss attack tells forgotten rows from unseen ones no better or worse than "
            text += f"under the retrained network, within chance ({numbers})."
            if self._is_apart("membership_auc", "original") is False:
                text += " The same holds for the original, so that this tells little."
            yield Finding("good", text)
        elif gap.value > 0:
            yield Finding(
                "warning",
                "A loss attack recognises forgotten rows more often than under the retrained "
                f"network ({numbers}).",
            )
        else:
            yield Finding(
                "warning",
                "The membership AUC is below the retrained network's: losses of the forgotten rows "
                f"are so high that they stand out (the Streisand effect; {numbers}).",
            )

    def _seconds(self):
        speed, seconds = self._get("speed_up", "unlearned"), self._get("seconds", "unlearned")
        if speed is not None:
            text = f"The request took {_duration(seconds.value)}, {{}}, as measured when they ran."
            if speed.value > 1.15:
                text = text.format(f"{speed.value:.1f} times as fast as retraining")
            elif speed.value > 0.85:
                text = text.format("about as long as retraining")
            else:
                text = text.format(f"{1 / speed.value:.1f} times as long as retraining")
            yield Finding("note" if speed.value > 0.85 else "warning", text)
        elif seconds is not None:
            yield Finding("note", f"The request took {_duration(seconds.value)}.")

    def _get(self, metric, model):
        return self.table.get((metric, model))

    def _level(self):
        return f"{100 * self.about['confidence']:.4g}% interval"

    @staticmethod
    def _note(text):
        return Finding("note", text)


def _percent(row, short=False):
    text = f"{100 * row.value:.1f}%"
    if short or np.isnan(row.low):
        return text
    return f"{text} of them ({100 * row.low:.1f}% to {100 * row.high:.1f}%)"


def _points(row):
    text = f"{100 * row.value:+.1f} ({100 * row.low:+.1f} to {100 * row.high:+.1f})"
    return text.replace("-", "−")


def _duration(seconds):
    return f"{seconds:.2f} s" if seconds < 100 else f"{seconds / 60:.1f} min"


def _join(names):
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
