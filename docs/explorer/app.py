"""The explorer as a hosted Space: needs `pip install 'sklunlearn[explorer]'`."""

from sklunlearn.explorer._app import launch

launch(host="0.0.0.0")
