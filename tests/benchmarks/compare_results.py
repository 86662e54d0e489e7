"""What has changed between two files of results that `--json` wrote.

For each measurement that both have: our time before and after, the change, and the ratio to each
other side before and after. The ratios tell more than the times, where the machine or its load is
another.
"""

import argparse
import json
from pathlib import Path


def read(path):
    """What the numbers depend on, and the measurements by their names."""
    content = json.loads(Path(path).read_text())
    return content["about"], {
        (row["name"], row["network"], row["rows"]): row for row in content["results"]
    }


def lines(before, after, threshold):
    """The table as lines; marked where our time has changed by more than the threshold."""
    head = f"{'what':28}{'network':12}{'rows':>8}{'before, ms':>12}{'after, ms':>12}"
    yield f"{head}{'change':>9}  ratios"
    for key, row in after.items():
        if key not in before:
            continue
        old = before[key]
        seconds = old["seconds"]["ours"], row["seconds"]["ours"]
        change = seconds[1] / seconds[0] - 1
        ratios = ", ".join(
            f"{side} {old['ratio'][side]:.2f} -> {ratio:.2f}"
            for side, ratio in row["ratio"].items()
            if side in old["ratio"]
        )
        mark = "  *" if abs(change) > threshold else ""
        times = f"{seconds[0] * 1e3:12.2f}{seconds[1] * 1e3:12.2f}{change:+9.0%}"
        yield f"{key[0]:28}{key[1]:12}{key[2] or '-':>8}{times}  {ratios}{mark}"
    for name, only in (("before", before.keys() - after), ("after", after.keys() - before)):
        if only:
            yield f"only {name}: {', '.join(' '.join(map(str, key)) for key in sorted(only))}"


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("before", help="JSON file")
    parser.add_argument("after", help="JSON file")
    parser.add_argument(
        "--threshold", type=float, default=0.1, help="change to be marked (default: %(default)s)"
    )
    args = parser.parse_args(argv)
    (about_before, before), (about_after, after) = read(args.before), read(args.after)
    for name, value in about_after.items():
        if about_before.get(name) != value:
            print(f"{name}: {about_before.get(name)} -> {value}")
    print(*lines(before, after, args.threshold), sep="\n")


if __name__ == "__main__":
    main()
