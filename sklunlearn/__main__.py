"""``python -m sklunlearn``: a network learns, forgets a class and is compared with retraining."""

import argparse
import contextlib
import sys
import tempfile
from pathlib import Path

from sklunlearn import _demo, _demo_plot

__all__ = ["main"]

_DESCRIPTION = """\
Train a small network on data that come with scikit-learn, let it forget one
class with BoundaryUnlearner, train another without that class for reference,
and compare the three networks in a table and in a picture (PNG)."""
_EXAMPLES = """\
examples:
  python -m sklunlearn
  python -m sklunlearn --forget 8 --seed 1
  python -m sklunlearn --data breast_cancer --forget malignant --output pictures
"""
_MAX_SEED = 2**32 - 1


def main(argv=None):
    """Run the demonstration.

    Parameters
    ----------
    argv : list of str, default=None
        Arguments; None: those of the command line.

    Returns
    -------
    status : int
        Exit status: 0, or 130 after Ctrl-C. A wrong argument exits with 2.
    """
    try:
        _run(_make_parser(), argv)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0


def _run(parser, argv):
    arguments = parser.parse_args(argv)
    data = _demo.load(arguments.data)
    label = _find_label(parser, arguments.forget, data)
    folder, quiet = arguments.output, arguments.quiet
    path = folder / f"{data.name}-forget-{label}.png"
    with _writing_to(path, parser):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass  # better an error now than after the training
    if not quiet:
        print(f"{_demo.describe(data, label)}\n")
    progress = sys.stderr.isatty() and not quiet
    rows, picture = _demo.run(data, label, arguments.seed, progress=progress)
    print(_demo.format_table(rows))
    with _writing_to(path, parser):
        _demo_plot.draw(picture, path)
    if not quiet:
        print(f"\n{_demo.READING}\n\nPicture: {path}")


@contextlib.contextmanager
def _writing_to(path, parser):
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        parser.error(f"argument --output: cannot write {str(path)!r}: {reason}")


def _make_parser():
    parser = _Parser(
        prog="python -m sklunlearn",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--data",
        choices=list(_demo.DATASETS),
        default="digits",
        help="data set: digits are images of 8 x 8 pixels, the others tables (default: digits)",
    )
    parser.add_argument(
        "--forget",
        metavar="LABEL",
        help="class to forget, by name or by number (default: 3 for digits, else number 0)",
    )
    parser.add_argument(
        "--seed",
        type=_seed,
        default=0,
        help="seed of the split and of everything else that is drawn (default: 0)",
    )
    parser.add_argument(
        "--output",
        metavar="DIR",
        type=Path,
        default=Path("demo-output"),
        help="folder of the picture, made where it is missing (default: demo-output)",
    )
    parser.add_argument(
        "--quiet",
        action="store_true",
        help="print the table and nothing else; the picture is still written",
    )
    return parser


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the usage."""

    def error(self, message):
        self.exit(2, f"{self.prog}: error: {message}\n")


def _seed(text):
    try:
        seed = int(text)
    except ValueError:
        seed = -1
    if not 0 <= seed <= _MAX_SEED:
        raise argparse.ArgumentTypeError(f"{text!r} is not an integer from 0 to {_MAX_SEED}")
    return seed


def _find_label(parser, text, data):
    if text is None:
        return "3" if data.name == "digits" else data.classes[0]
    numbers = {str(number): label for number, label in enumerate(data.classes)}
    if text not in data.classes and text not in numbers:
        known = [
            label if label == number else f"{label} or {number}"
            for number, label in numbers.items()
        ]
        parser.error(
            f"argument --forget: {text!r} is not a class of {data.name} "
            f"(choose from {', '.join(known)})"
        )
    return numbers.get(text, text)


if __name__ == "__main__":
    sys.exit(main())
