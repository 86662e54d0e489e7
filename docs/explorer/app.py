"""The explorer as a hosted Space: needs the extra `explorer`."""

from sklunlearn.explorer._app import launch

launch(host="0.0.0.0")
