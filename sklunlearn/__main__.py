"""``python -m sklunlearn``: a network learns, forgets a class and is compared with retraining."""

import argparse
import sys
from pathlib import Path

from sklunlearn import _demo

__all__ = ["main"]

_DESCRIPTION = """\
Train a small network on data that come with scikit-learn, forget one class with BoundaryUnlearner,
train again without it for reference, and compare the three networks in a table and a picture."""
_EXAMPLES = """\
examples:
  python -m sklunlearn
  python -m sklunlearn --forget 8 --seed 1
  python -m sklunlearn --data breast_cancer --forget malignant --output pictures
"""


def main(argv=None):
    """Run the demonstration; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m sklunlearn",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--data",
        choices=list(_demo.DATASETS),
        default="digits",
        help="data set; digits are images of 8 x 8 pixels, the others tables (default: digits)",
    )
    parser.add_argument(
        "--forget",
        metavar="LABEL",
        help="class to forget: its name or its number (default: 3 of digits, else the first)",
    )
    parser.add_argument(
        "--seed",
        type=_seed,
        default=0,
        help="seed of the split and of everything that is drawn (default: 0)",
    )
    parser.add_argument(
        "--output",
        metavar="DIR",
        type=Path,
        default=Path("demo-output"),
        help="folder for the picture, made if it is missing (default: demo-output)",
    )
    parser.add_argument(
        "--quiet", action="store_true", help="print the table only, without words around it"
    )
    arguments = parser.parse_args(argv)
    data = _demo.load(arguments.data)
    try:
        label = _find_label(arguments.forget, data)
        arguments.output.mkdir(parents=True, exist_ok=True)
        path = arguments.output / f"{data.name}-forget-{label}.png"
        path.touch()  # better now than after the training
    except ValueError as error:
        parser.error(str(error))
    except OSError as error:
        parser.error(f"argument --output: cannot write to {arguments.output}: {error.strerror}")
    try:
        _show(data, label, path, arguments)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0


def _show(data, label, path, arguments):
    def say(*words):
        if not arguments.quiet:
            print(*words)

    verbose = int(sys.stderr.isatty() and not arguments.quiet)
    say(f"{data.name}: {len(data.y)} rows, {len(data.classes)} classes, 30% held out.")
    say(
        f"Training a network on all classes, forgetting class {label!r}, and retraining without it:"
    )
    say()
    rows, picture = _demo.run(data, label, arguments.seed, verbose)
    print(_demo.format_table(rows))
    say()
    say("The retrained network never saw the class: the closer the unlearned one comes to it, the")
    say("better. The speed-up is over retraining.")
    _demo.draw(picture, path)
    say(f"Picture: {path}")


def _seed(text):
    seed = int(text) if text.isdecimal() else -1
    if not 0 <= seed < 2**31:
        raise argparse.ArgumentTypeError(f"{text!r} is not an integer from 0 to {2**31 - 1}")
    return seed


def _find_label(text, data):
    if text is None:
        return "3" if data.name == "digits" else data.classes[0]
    if text in data.classes:
        return text
    if text.isdecimal() and int(text) < len(data.classes):
        return data.classes[int(text)]
    raise ValueError(
        f"argument --forget: {text!r} is not a class of {data.name} (choose from "
        f"{', '.join(data.classes)})"
    )


if __name__ == "__main__":
    sys.exit(main())
