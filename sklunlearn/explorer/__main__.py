"""``python -m sklunlearn.explorer``: open the explorer."""

import argparse
import sys

__all__ = ["main"]


def main(arguments=None):
    """Parse the command line and serve the page until it is interrupted."""
    parser = argparse.ArgumentParser(
        prog="python -m sklunlearn.explorer", description="See forgetting happen in a browser."
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen at; 0.0.0.0 lets other machines in (default: %(default)s)",
    )
    parser.add_argument(
        "--port", type=int, default=7860, help="port to listen at (default: %(default)s)"
    )
    chosen = parser.parse_args(arguments)
    try:
        from sklunlearn.explorer._app import launch
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "gradio":
            raise
        sys.exit("The explorer needs Gradio: pip install 'sklunlearn[explorer]'.")
    launch(host=chosen.host, port=chosen.port)


if __name__ == "__main__":
    main()
