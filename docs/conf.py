"""Settings of Sphinx for the documentation; ./docs/build runs it."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE / "_extensions")]

project = "weaver-kd"
author = "The weaver-kd developers"
copyright = "2026, the weaver-kd developers. MIT licence"

extensions = [
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_copybutton",
    "sphinx_design",
    "commands_and_settings",
    "mathml",
]
exclude_patterns = ["_build", "**.ipynb_checkpoints"]
smartquotes = False  # it makes a dash of the two hyphens of an option
needs_sphinx = "8.0"

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 4
nb_execution_mode = "off"  # notebooks are stored with their output
nb_merge_streams = True
nb_render_markdown_format = "myst"  # CommonMark, the default, has no tables

autosummary_generate = False  # one page has all
default_role = "code"  # of single backticks in docstrings
autodoc_typehints = "none"  # the docstrings have types and shapes
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
# no links into other projects: a build needs no network
nitpick_ignore_regex = [("py:.*", r"(numpy|np|torch|nn|awkward|ak|argparse|pathlib)\..*")]

html_theme = "pydata_sphinx_theme"
html_title = "weaver-kd"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_math_renderer = "mathml"
html_theme_options = {
    "navbar_align": "left",
    "show_toc_level": 2,
    "header_links_before_dropdown": 6,
    "navigation_with_keys": False,
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_context = {"default_mode": "light"}

# ./docs/build --links
linkcheck_anchors = False
linkcheck_timeout = 20
linkcheck_retries = 2
