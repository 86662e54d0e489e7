"""Nothing in the package runs code that a file names."""

import ast
from pathlib import Path

import pytest

import sklunlearn

ROOT = Path(sklunlearn.__file__).parent
UNPICKLES = {"load", "loads", "Unpickler"}
FORBIDDEN = {
    **{module: UNPICKLES for module in ("pickle", "cloudpickle", "dill", "marshal")},
    "shelve": {"open"},
    "pandas": {"read_pickle"},
    "joblib": {"load"},
    "yaml": {"load", "unsafe_load", "full_load"},
    "os": {"system", "popen"},
    "builtins": {"eval", "exec", "compile", "__import__"},
}
ALLOWED = {
    # Files of the process's own: trained networks that its workers are to share.
    "model_selection/_cache.py": {"cloudpickle.loads"},
    "_request_text.py": {"yaml.load"},  # with a kind of SafeLoader
    "explorer/_sources.py": {"builtins.exec"},  # constants of its own, which the page shows too
}


def unsafe_calls(source):
    """Lines and names of the calls that run, or may run, what they are given."""
    modules, names = {}, {name: f"builtins.{name}" for name in FORBIDDEN["builtins"]}
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {alias.asname or alias.name: alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = names.get(ast.unparse(node.func), ast.unparse(node.func))
        module, _, attribute = name.rpartition(".")
        module = modules.get(module, module)
        # Of a constant its value, of anything else the expression, which may become any.
        options = {o.arg: getattr(o.value, "value", o.value) for o in node.keywords}
        is_unsafe = attribute in FORBIDDEN.get(module, ())
        if (module, attribute) == ("torch", "load"):
            is_unsafe |= options.get("weights_only") is not True
        is_unsafe |= (module, attribute) == ("numpy", "load") and bool(options.get("allow_pickle"))
        is_unsafe |= module == "subprocess" and bool(options.get("shell"))
        if is_unsafe:
            found.append((node.lineno, f"{module}.{attribute}"))
    return found


@pytest.mark.parametrize(
    "source",
    [
        "import pickle\npickle.loads(data)",
        "import pickle as p\np.Unpickler(file).load()",
        "from pickle import load as read\nread(file)",
        "import torch\ntorch.load(path)",
        "import torch\ntorch.load(path, weights_only=False)",
        "import torch\ntorch.load(path, weights_only=is_safe)",
        "import numpy as np\nnp.load(path, allow_pickle=True)",
        "import numpy as np\nnp.load(path, allow_pickle=is_mine)",
        "import shelve\nshelve.open(path)",
        "import pandas as pd\npd.read_pickle(path)",
        "from joblib import load\nload(path)",
        "eval(text)",
        "exec(text)",
        "import subprocess\nsubprocess.run(text, shell=True)",
    ],
)
def test_unsafe_calls_are_found(source):
    assert unsafe_calls(source)


def test_safe_calls_are_not():
    source = (
        "import torch, numpy as np\nmodel.eval()\nnp.load(path)\ntorch.load(f, weights_only=True)"
    )
    assert unsafe_calls(source) == []


def test_the_package_has_no_unsafe_calls():
    unexpected = {}
    for path in ROOT.rglob("*.py"):
        name = path.relative_to(ROOT).as_posix()
        calls = unsafe_calls(path.read_text(encoding="utf-8"))
        left = [call for call in calls if call[1] not in ALLOWED.get(name, ())]
        unexpected |= {name: left} if left else {}
    assert unexpected == {}
