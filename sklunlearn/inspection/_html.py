"""A report as one page of HTML that needs nothing else."""

import base64
import io
from html import escape

import numpy as np

from sklunlearn import __version__

__all__ = ["make_fragment", "make_page"]

# Metric, what it is called, and how to read it.
_ROWS = [
    ("forget_accuracy", "Accuracy on the forgotten rows", "good: as retrained"),
    ("forget_accuracy_test", "Accuracy on unseen rows of what was forgotten", ""),
    ("retain_accuracy", "Accuracy on the retained rows", "good: as retrained"),
    ("test_accuracy", "Accuracy on test rows", "good: as retrained"),
    ("js_forget", "JS divergence from retrained, forgotten rows", "bits; good: as retrained"),
    ("js_test", "JS divergence from retrained, test rows", "bits; good: as retrained"),
    ("ks_forget", "KS distance of the losses of forgotten rows", "from 0 to 1; good: as retrained"),
    ("agreement_forget", "Same label as retrained, forgotten rows", "good: as retrained"),
    ("agreement_test", "Same label as retrained, test rows", "good: as retrained"),
    ("membership_auc", "AUC of the loss attack", "good: as retrained"),
    (
        "probe_accuracy",
        "Accuracy of a linear probe for the forgotten class",
        "how well a last layer trained anew on the embeddings would find it again; good: as "
        "retrained, not 0.5",
    ),
    (
        "relearn_steps",
        "Steps of training until the forgotten rows are known again",
        "few, where retrained networks need many: the forgetting can be undone quickly; small: "
        "range over three orders of the rows, or over the retrained networks",
    ),
    ("tug_of_war", "Tug of war", "1: all three accuracies as retrained"),
    ("seconds", "Seconds", "of the request"),
    ("speed_up", "Times as fast as retraining", ""),
]

_LEVELS = {"good": "✓", "note": "i", "warning": "!", "bad": "✗"}

_STYLE = """
.sklunlearn { font: 15px/1.5 system-ui, sans-serif; color: #1b2733; background: #fff;
  max-width: 1080px; margin: 0 auto; padding: 24px 28px; }
.sklunlearn h1 { font-size: 25px; line-height: 1.25; margin: 0 0 2px; }
.sklunlearn h2 { font-size: 18px; margin: 32px 0 8px; }
.sklunlearn p { margin: 4px 0; }
.sklunlearn .about, .sklunlearn .small { color: #56646f; font-size: 13px; }
.sklunlearn ul { list-style: none; padding: 0; margin: 12px 0; }
.sklunlearn li { padding: 5px 0 5px 34px; position: relative; }
.sklunlearn li > b { position: absolute; left: 0; top: 7px; width: 20px; height: 20px;
  line-height: 20px; text-align: center; border-radius: 50%; color: #fff; font-size: 12px; }
.sklunlearn .headline { font-size: 17px; font-weight: 600; padding: 12px 16px; margin: 16px 0 8px;
  border-left: 6px solid; border-radius: 4px; }
.sklunlearn .good > b { background: #00795a; } .sklunlearn .note > b { background: #6b7884; }
.sklunlearn .warning > b { background: #b35a00; } .sklunlearn .bad > b { background: #b3261e; }
.sklunlearn .headline.good { background: #e8f5f0; border-color: #00795a; }
.sklunlearn .headline.note { background: #eef1f3; border-color: #6b7884; }
.sklunlearn .headline.warning { background: #fdf3e3; border-color: #b35a00; }
.sklunlearn .headline.bad { background: #fcebe9; border-color: #b3261e; }
.sklunlearn .scroll { overflow-x: auto; }
.sklunlearn table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
.sklunlearn th, .sklunlearn td { padding: 6px 10px; text-align: right; vertical-align: top;
  border-bottom: 1px solid #dde3e8; white-space: nowrap; background: none; }
.sklunlearn th:first-child { text-align: left; white-space: normal; font-weight: 500;
  min-width: 190px; }
.sklunlearn thead th { border-bottom: 2px solid #1b2733; font-weight: 600; }
.sklunlearn td.ours { background: #fdf1ea; }
.sklunlearn td span, .sklunlearn th span { display: block; color: #56646f; font-size: 12px;
  font-weight: 400; }
.sklunlearn figure { margin: 8px 0 0; }
.sklunlearn img { max-width: 100%; height: auto; }
@media print { .sklunlearn figure, .sklunlearn tr { break-inside: avoid; } }
"""


def make_page(report):
    """The page, from doctype to the end."""
    title = escape(f"Unlearning report: {report.about['method']}")
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>body {{ margin: 0; }}</style>\n</head>\n<body>\n"
        f"{make_fragment(report)}</body>\n</html>\n"
    )


def make_fragment(report):
    """What the page shows, to be put in another page: the style is its own."""
    parts = [
        f'<style>{_STYLE}</style>\n<div class="sklunlearn">\n',
        _head(report),
        _verdict(report),
        _table(report),
        *_pictures(report),
        _foot(report),
        "</div>\n",
    ]
    return "".join(parts)


def _head(report):
    about = report.about
    facts = [f"{about['n_test']} test rows"]
    if about["n_forget"]:
        what = f"{about['n_forget']} rows forgotten"
        if about["classes"]:
            among = "among them " * bool(about["n_forget_of_kept_classes"])
            what += f" ({among}all of class {', '.join(map(str, about['classes']))})"
        facts = [what, f"{about['n_retain']} retained", *facts]
    n = about["n_references"]
    facts.append(f"{n or 'no'} retrained network{'s' * (n != 1)}")
    return (
        f"<h1>Unlearning report: {escape(about['method'])}</h1>\n"
        f'<p class="about">{escape(" · ".join(facts))}</p>\n'
    )


def _verdict(report):
    headline, *findings = report.verdict
    items = "".join(
        f'<li class="{f.level}"><b title="{f.level}">{_LEVELS[f.level]}</b>{escape(f.text)}</li>\n'
        for f in findings
    )
    return f'<p class="headline {headline.level}">{escape(headline.text)}</p>\n<ul>\n{items}</ul>\n'


def _table(report):
    scores = {(row.metric, row.model): row for row in report.scores.itertuples()}
    models = [
        name
        for name in ("original", "unlearned", "retrained")
        if any(model == name for _, model in scores)
    ]
    with_gap = "retrained" in models
    head = "".join(f'<th scope="col">{name}</th>' for name in models)
    if with_gap:
        head += '<th scope="col">unlearned − retrained</th>'
    lines = []
    for metric, name, reading in _ROWS:
        found = [scores.get((metric, model)) for model in models]
        if not any(row is not None for row in found):
            continue
        if metric == "test_accuracy" and report.about["is_unseen_marked"]:
            name = name.replace("test rows", "the other test rows")
        elif metric == "test_accuracy" and report.about["classes"]:
            name += " of the other classes"
        digits = 0 if metric == "relearn_steps" else 3
        cells = [
            _cell(row, digits, ours=model == "unlearned")
            for row, model in zip(found, models, strict=True)
        ]
        if with_gap:
            cells.append(_cell(scores.get((metric, "unlearned gap")), digits, signed=True))
        notes = [reading] if reading else []
        if metric not in ("seconds", "speed_up", "tug_of_war"):
            notes.append(f"{found[models.index('unlearned')].n} rows")
        if metric == "membership_auc":
            noise = scores[("membership_auc_noise", "unlearned")]
            notes[-1] += f" against {noise.n} unseen; by chance ±{2 * noise.value:.3f}"
        if metric == "probe_accuracy":
            control = scores[("probe_control", "unlearned")].value
            notes.append(f"{_number(control)} for labels that were shuffled")
        if metric == "relearn_steps":
            n_steps = report.about["relearning"]["n_steps"]
            if any(row is not None and row.high > n_steps for row in found):
                notes.append(f"{n_steps + 1}: not within the {n_steps} that were tried")
        if (floor := scores.get((metric, "floor"))) is not None:
            word = "down to" if metric.startswith("agreement") else "up to"
            notes.append(f"among retrained {word} {_number(floor.value)}")
        lines.append(
            f'<tr><th scope="row">{escape(name)}<span>{escape("; ".join(notes))}</span></th>'
            f"{''.join(cells)}</tr>\n"
        )
    level = f"{100 * report.about['confidence']:.4g}%"
    legend = (
        f"Small: {level} intervals, from {report.about['n_bootstrap']} bootstrap draws of the "
        "rows. They do not tell how scores stray with another seed of the training."
    )
    if with_gap:
        legend += (
            " Retrained: the mean over the retrained networks; for distances and the tug of war, "
            "that of each from the others. Among retrained: how far one of them is from the others."
        )
    return (
        '<h2>Scores</h2>\n<div class="scroll"><table>\n'
        f'<thead><tr><th scope="col">score</th>{head}</tr></thead>\n'
        f"<tbody>\n{''.join(lines)}</tbody>\n</table></div>\n"
        f'<p class="small">{escape(legend)}</p>\n'
    )


def _cell(row, digits, *, ours=False, signed=False):
    kind = ' class="ours"' if ours else ""
    if row is None:
        return f"<td{kind}>–</td>"
    interval = ""
    if np.isfinite(row.low):
        low, high = (_number(end, signed, digits) for end in (row.low, row.high))
        interval = f"<span>{low} to {high}</span>"
    return f"<td{kind}>{_number(row.value, signed, digits)}{interval}</td>"


def _number(value, signed=False, digits=3):
    if abs(value) >= 100:
        return f"{value:.0f}"
    text = f"{value:{'+' * signed}.{digits}f}"
    return text.replace("-", "−")


def _pictures(report):
    from matplotlib.figure import Figure

    from sklunlearn.inspection._report_plot import PICTURES, can_draw

    for title, size, text, draw in PICTURES:
        if not can_draw(report, title):
            continue
        # A Figure by itself, without pyplot, changes nothing global.
        figure = Figure(figsize=size, layout="constrained")
        draw(report, figure)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=144, metadata={"Software": None})
        data = base64.b64encode(buffer.getvalue()).decode("ascii")
        if title == "Trade-off" and not report.about["n_references"]:
            text = "Where a retrained network would be is not known. Bars are intervals."
        yield (
            f'<h2>{title}</h2>\n<p class="small">{escape(text)}</p>\n'
            f'<figure><img width="{round(size[0] * 96)}" alt="{escape(title)}" '
            f'src="data:image/png;base64,{data}"></figure>\n'
        )


def _foot(report):
    about = report.about
    parts = [f"sklunlearn {__version__}"]
    if "requested_at" in about:
        parts.append(f"request of {about['requested_at']}")
    if about.get("parameters"):
        chosen = ", ".join(f"{name}={value}" for name, value in about["parameters"].items())
        parts.append(f"{about['method']}({chosen})")
    return f'<p class="small" style="margin-top: 28px">{escape("; ".join(parts))}</p>\n'
