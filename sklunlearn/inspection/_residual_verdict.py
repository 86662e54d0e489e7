"""What a probe of the embeddings and relearning say of where a network has forgotten."""

from sklunlearn.inspection._finding import Finding

__all__ = ["ResidualVerdict"]

_LEAST_GAP = 0.01  # a difference in the accuracy of the probe below this is none
_FEWEST_STEPS = 5  # a difference in steps below this is none


class ResidualVerdict:
    """Reads the rows "probe_accuracy", "probe_control" and "relearn_steps" of a report.

    Parameters
    ----------
    table : dict of (str, str) to row
        The figures, by metric and model.
    about : dict
        What the report is about.
    is_apart : callable
        ``(metric, model) -> bool or None``, whether a figure differs from the retrained networks'.
    """

    def __init__(self, table, about, is_apart):
        self.table = table
        self.about = about
        self.is_apart = is_apart
        # One retrained network does not tell how far two of them are from each other.
        self.is_judged = about["n_references"] > 1
        self.is_unchanged = about.get("is_embedding_unchanged", False)
        many = len(about["classes"]) > 1
        self.what = "forgotten classes" if many else "forgotten class"
        self.it = "them" if many else "it"

    def separates(self):
        """Whether the embeddings tell the class better than those of networks that never saw it."""
        gap = self.table.get(("probe_accuracy", "unlearned gap"))
        if not self.is_judged or gap is None or gap.value < _LEAST_GAP:
            return False
        if not self.is_apart("probe_accuracy", "unlearned"):
            return False
        of_original = self.table.get(("probe_accuracy", "original gap"))
        if of_original is not None and gap.value <= of_original.value / 2:
            return False
        control = self.table["probe_control", "unlearned"].value
        return self.table["probe_accuracy", "unlearned"].low > control

    def is_in_last_layer(self):
        """Whether the outputs have forgotten what the embeddings have not."""
        gap = self.table.get(("forget_accuracy", "unlearned gap"))
        still_known = self.is_apart("forget_accuracy", "unlearned") and gap.value > 0
        return self.separates() and not still_known

    def relearns_faster(self):
        """Whether it knows the rows again in half the steps of any retrained network, or fewer."""
        ours, theirs = (self.table.get(("relearn_steps", m)) for m in ("unlearned", "retrained"))
        if ours is None or theirs is None or not self.is_judged:
            return False
        fewer = theirs.low - ours.value >= _FEWEST_STEPS
        return bool(fewer and 2 * ours.value <= theirs.low)

    def headline(self):
        """Text of the headline, or None if there is nothing of this kind to say."""
        quick = (
            "the forgotten rows are known again after at most half the training steps that "
            "retrained networks need."
        )
        if self.is_in_last_layer():
            text = "Forgotten mostly in the last layer: by what enters it a linear probe tells "
            if self.is_unchanged:
                text = "Forgotten only in the last layer: what enters it is as it was in the "
                text += "original, and a linear probe tells "
            text += f"the {self.what} from the others better than in retrained networks."
            return text + f" It can be undone quickly: {quick}" * self.relearns_faster()
        return f"Can be undone quickly: {quick}" if self.relearns_faster() else None

    def findings(self):
        """The findings, in order."""
        if ("probe_accuracy", "unlearned") in self.table:
            yield self._about_probe()
        if ("relearn_steps", "unlearned") in self.table:
            yield self._about_relearning()

    def _about_probe(self):
        text = f"A linear probe of the embeddings tells the {self.what} from the others"
        numbers = self._accuracies()
        only = " Only the last layer has changed: the embeddings are those of the original."
        only *= bool(self.is_unchanged)
        if not self.is_judged:
            why = "Networks that never saw a class separate it too, so that two retrained ones or "
            why += "more are needed to judge by."
            level = "warning" if only else "note"
            return Finding(level, f"{text} {numbers}. {why}{only}")
        if self.separates():
            why = f"A last layer that is trained anew would know {self.it} again."
            text += f" better than with retrained networks {numbers}. {why}{only}"
            return Finding("warning", text)
        if not self.is_apart("probe_accuracy", "unlearned"):
            text += f" about as well as with retrained networks {numbers}."
            if self.is_apart("probe_accuracy", "original") is False:
                return Finding("note", f"{text} So it does with the original.{only}")
            return Finding("note" if only else "good", text + only)
        if self.table["probe_accuracy", "unlearned gap"].value > 0:
            text += f" a little better than with retrained networks {numbers}."
        else:
            text += f" less well than with retrained networks {numbers}."
        return Finding("note", text + only)

    def _accuracies(self):
        value = self.table["probe_accuracy", "unlearned"].value
        text = f"(accuracy {100 * value:.1f}%"
        theirs = self.table.get(("probe_accuracy", "retrained"))
        if theirs is not None:
            text += f" against {100 * theirs.value:.1f}%"
        original = self.table.get(("probe_accuracy", "original"))
        if original is not None:
            text += f", of the original {100 * original.value:.1f}%"
        control = self.table["probe_control", "unlearned"].value
        return f"{text}; for shuffled labels {100 * control:.1f}%)"

    def _about_relearning(self):
        ours, theirs = (self.table.get(("relearn_steps", m)) for m in ("unlearned", "retrained"))
        text = (
            f"Trained on all rows again, the network knows the forgotten ones {self._after(ours)}"
        )
        if theirs is None:
            return Finding("note", f"{text}. Without retrained networks this cannot be judged.")
        text += f", retrained networks {self._after(theirs)}"
        if not self.is_judged:
            return Finding("note", f"{text}. One of them is not enough to judge by.")
        if self.relearns_faster():
            return Finding("warning", f"{text}: the forgetting can be undone quickly.")
        if self._is_never(ours.value) and self._is_never(theirs.value):
            return Finding("note", f"{text}: too few to tell.")
        if ours.value >= 2 * theirs.high:
            return Finding("note", f"{text}: at least twice as many, which is beyond forgetting.")
        return Finding("good", f"{text}: not far fewer, which would be half of theirs.")

    def _after(self, row):
        n_steps = self.about["relearning"]["n_steps"]
        if self._is_never(row.value):
            return f"not within {n_steps} steps"
        ends = [f"over {n_steps}" if self._is_never(e) else f"{e:.0f}" for e in (row.low, row.high)]
        return f"after {row.value:.0f} steps ({ends[0]} to {ends[1]})"

    def _is_never(self, value):
        return value > self.about["relearning"]["n_steps"]
