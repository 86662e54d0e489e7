"""See forgetting happen in a browser: ``python -m sklunlearn.explorer``.

What can be seen and done is computed by the library itself; the page needs the extra
``explorer``, which brings Gradio. All but the page can be used without it.
"""
