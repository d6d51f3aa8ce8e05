# SPDX-License-Identifier: MIT
"""Settings of the documentation site."""

import os
import sys
from pathlib import Path

import eqcalc

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS / "_extensions"))

project = "eqcalc"
author = "The eqcalc developers"
copyright = author
version = release = eqcalc.__version__

extensions = [
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.doctest",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
    "command_line",
    "docstrings",
    "mathml",
    "result_table",
    "whole_outputs",
]
templates_path = ["_templates"]
exclude_patterns = ["_build"]

# --- appearance -----------------------------------------------------------------------

smartquotes = False  # options of commands begin with two hyphens
html_theme = "furo"
html_title = f"eqcalc {release}"
html_math_renderer = "mathml"
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

# --- API reference ----------------------------------------------------------------------

autosummary_generate = True
autosummary_ignore_module_all = False
# where the names of the public face come from: a room leaves them out
autosummary_context = {
    "face": {n: getattr(eqcalc, n).__module__ for n in eqcalc.__all__ if not n.startswith("_")}
}
autodoc_typehints = "none"
autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False
numpydoc_show_class_members = False

# --- notebooks --------------------------------------------------------------------------

myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = os.environ.get("EQCALC_DOCS_EXECUTION", "force")
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 600
nb_merge_streams = True
if nb_execution_mode == "off":  # and the language of cells is not known better than Python
    suppress_warnings = ["misc.highlighting_failure"]
# What notebooks and the commands in them find: the data of the checkout, the commands of this
# environment, and whether to cut short (the default here) or to run at full length.
os.environ["EQCALC_CHECKOUT"] = str(DOCS.parent)
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
os.environ.setdefault("EQCALC_TUTORIALS", "short")
os.environ.setdefault("OMP_NUM_THREADS", "1")
