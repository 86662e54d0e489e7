"""Settings of the documentation; `make docs` builds it. A build fetches nothing."""

import inspect
import os
import sys
import warnings
from pathlib import Path

os.environ.setdefault("MPLBACKEND", "Agg")
HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
sys.path.insert(0, str(HERE / "_ext"))

import torch

import sklunlearn

torch.set_num_threads(1)  # the examples are small: more threads get in each other's way

project = "sklunlearn"
author = "the sklunlearn developers"
copyright = author
version = release = sklunlearn.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx-mathjax-offline",  # formulas without a server of someone else's
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    # In _ext:
    "course_pages",
    "methods_page",
    "site_links",
]
templates_path = ["_templates"]
exclude_patterns = [
    "course/*.ipynb",
    "_build",
    "_ext",
    "examples",
    "figures",
    "**/sg_execution_times.rst",
    "sg_execution_times.rst",
]
suppress_warnings = ["config.cache"]  # the gallery's settings hold objects

# Markdown
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "attrs_inline"]
myst_heading_anchors = 4

highlight_language = "text"  # what says no language is none: commands, tables

# The reference
autosummary_generate = True
autodoc_typehints = "none"
autodoc_member_order = "bysource"
toc_object_entries_show_parents = "hide"
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
numpydoc_xref_param_type = False


def own_methods(fullname):
    """Public methods of a class that this package wrote, in the order of their names."""
    return [name for name, method in _public_methods(fullname) if _is_own(method)]


def other_methods(fullname):
    """Public methods of a class that come from scikit-learn or torch."""
    cls = _resolve(fullname)
    if "forward" in vars(cls):  # a torch module has dozens: its own documentation lists them
        return []
    return [name for name, method in _public_methods(fullname) if not _is_own(method)]


def _resolve(fullname):
    module, _, name = fullname.rpartition(".")
    __import__(module)
    return getattr(sys.modules[module], name)


def _public_methods(fullname):
    members = inspect.getmembers(_resolve(fullname), lambda m: inspect.isroutine(m))
    return [(name, member) for name, member in members if not name.startswith("_")]


def _is_own(method):
    return (getattr(method, "__module__", None) or "").startswith("sklunlearn")


autosummary_context = {"own_methods": own_methods, "other_methods": other_methods}

# Other projects' documentation is only linked where asked for, as that needs a network.
if os.environ.get("SKLUNLEARN_DOCS_INTERSPHINX"):
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_mapping = {
        "python": ("https://docs.python.org/3", None),
        "numpy": ("https://numpy.org/doc/stable", None),
        "pandas": ("https://pandas.pydata.org/docs", None),
        "sklearn": ("https://scikit-learn.org/stable", None),
        "skorch": ("https://skorch.readthedocs.io/en/stable", None),
        "torch": ("https://docs.pytorch.org/docs/stable", None),
    }

# The gallery
sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"plot_",
    "within_subsection_order": "FileNameSortKey",
    "download_all_examples": False,
    "remove_config_comments": True,
    "show_memory": False,
    "min_reported_time": 1,
    "show_signature": False,
    "doc_module": ("sklunlearn",),
    "backreferences_dir": "api/backreferences",
    "reference_url": {"sklunlearn": None},
    "image_scrapers": ("matplotlib",),
    "thumbnail_size": (480, 336),
    "abort_on_example_error": False,
}
warnings.filterwarnings("ignore", message=".*is non-interactive", category=UserWarning)

# Pages
html_theme = "pydata_sphinx_theme"
html_title = "sklunlearn"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_logo = "_static/logo.svg"
html_favicon = "_static/logo.svg"
html_context = {"default_mode": "auto"}  # light or dark, as the reader's system is
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "logo": {"text": "sklunlearn"},
    "show_toc_level": 2,
    "navigation_depth": 3,
    "header_links_before_dropdown": 8,
    "navbar_align": "left",
    "navbar_end": ["theme-switcher"],
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "tango",
    "pygments_dark_style": "github-dark",
}
html_sidebars = {"index": [], "getting_started": [], "changelog": [], "contributing": []}
