"""Files of a run, to be downloaded."""

from pathlib import Path

__all__ = ["save_model_file", "save_report"]


def save_report(run, folder):
    """Write the HTML report of a run; its path."""
    path = Path(folder) / f"unlearning-report-{run.number}.html"
    run.report.to_html(path)
    return str(path)


def save_model_file(run, folder):
    """Write the released model of a run; its path."""
    from sklunlearn.persistence import save_model

    path = Path(folder) / f"unlearned-{run.number}.safetensors"
    save_model(run.unlearner.release(), path)
    return str(path)
