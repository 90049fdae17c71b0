"""The Python environment: its versions, beside those that the package asks for."""

import platform
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from fashion_mnist.doctor.finding import Finding, well, wrong

PACKAGE = "fashion-mnist-mlp"
TOPIC = "environment"
SHOWN = ("torch", "mlflow", "hydra-core", "numpy")  # versions that decide most


def look_at_packages() -> Iterator[Finding]:
    """Python and every package that is required."""
    try:
        own = metadata.metadata(PACKAGE)
        required = [Requirement(text) for text in metadata.requires(PACKAGE) or []]
    except metadata.PackageNotFoundError:
        yield wrong(TOPIC, f"{PACKAGE} itself is not installed", _advice())
        return
    running = platform.python_version()
    if running not in SpecifierSet(own["Requires-Python"] or ""):
        yield wrong(TOPIC, f"Python {running}, and {own['Requires-Python']} is needed", _advice())
    needed = [each for each in required if each.marker is None or each.marker.evaluate()]
    problems = [problem for each in needed if (problem := _problem(each))]
    if problems:
        yield wrong(TOPIC, "; ".join(problems), _advice())
    else:
        versions = ", ".join(f"{name} {metadata.version(name)}" for name in SHOWN)
        yield well(TOPIC, f"Python {running}, {versions}, and all else of {len(needed)} packages")


def _problem(requirement: Requirement) -> str:
    """What is wrong with one package; empty for nothing."""
    try:
        found = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return f"{requirement.name} is missing"
    is_good = requirement.specifier.contains(found, prereleases=True)
    return "" if is_good else f"{requirement.name} {found}, and {requirement.specifier} is needed"


def _advice() -> str:
    setup = Path(__file__).parents[2] / "scripts" / "setup.py"
    return f"python3 {setup} train" if setup.exists() else f"pip install --upgrade {PACKAGE}"
