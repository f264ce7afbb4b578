"""Contents and metadata of the wheel and the sdist."""

import re
import subprocess
import sys
import tarfile
import zipfile
from configparser import ConfigParser
from email import message_from_string
from email.message import Message
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from sb3_a2c_td.version import __version__

ROOT = Path(__file__).parents[2]
STEM = f"sb3_a2c_td-{__version__}"
MODULES = {
    path.relative_to(ROOT).as_posix() for ending in ("py", "pyi") for path in (ROOT / "sb3_a2c_td").rglob(f"*.{ending}")
}
EXTRAS = {"all", "bench", "cli", "dev", "docs", "export", "fast", "plots", "test", "zoo"}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the sdist from the repository and the wheel from the sdist, without a network."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> dict[str, str]:
    with zipfile.ZipFile(built / f"{STEM}-py3-none-any.whl") as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}


@pytest.fixture(scope="module")
def metadata(wheel: dict[str, str]) -> Message:
    return message_from_string(wheel[f"{STEM}.dist-info/METADATA"])


def test_wheel_contains_only_the_package(wheel: dict[str, str]) -> None:
    metadata_files = {f"{STEM}.dist-info/{name}" for name in ("METADATA", "RECORD", "WHEEL", "entry_points.txt")}
    licence = f"{STEM}.dist-info/licenses/LICENSE"
    assert set(wheel) == {*MODULES, "sb3_a2c_td/py.typed", licence, *metadata_files}
    assert wheel[licence] == (ROOT / "LICENSE").read_text()


def test_sdist_contains_the_package_and_the_files_of_the_build(built: Path) -> None:
    with tarfile.open(built / f"{STEM}.tar.gz") as archive:
        names = {member.name.removeprefix(f"{STEM}/") for member in archive.getmembers() if member.isfile()}
    other_files = {"CHANGELOG.md", "CITATION.cff", "LICENSE", "README.md", "pyproject.toml", ".gitignore", "PKG-INFO"}
    assert names == {*MODULES, "sb3_a2c_td/py.typed", *other_files}


def test_metadata_names_version_licence_and_extras(metadata: Message) -> None:
    assert metadata["Name"] == "sb3-a2c-td"
    assert metadata["Version"] == __version__
    assert metadata["License-Expression"] == "MIT"
    assert set(metadata.get_all("Provides-Extra", [])) == EXTRAS


def test_readme_of_the_package_needs_no_other_file(metadata: Message) -> None:
    text = str(metadata.get_payload())
    assert text.startswith("# sb3-a2c-td\n\n**TDA2C** is")
    targets = re.findall(r"\]\(([^)\s]+)\)", text)
    assert targets
    assert all(target.startswith("https://") for target in targets)
    assert "$$" not in text
    assert "| learning | " in text


def test_requirements_have_no_urls(metadata: Message) -> None:
    requirements = [Requirement(text) for text in metadata.get_all("Requires-Dist", [])]
    assert {"stable_baselines3", "gymnasium", "torch"} <= {each.name.replace("-", "_") for each in requirements}
    assert not [each for each in requirements if each.url]


def test_console_script_can_be_loaded(wheel: dict[str, str]) -> None:
    entry_points = ConfigParser()
    entry_points.read_string(wheel[f"{STEM}.dist-info/entry_points.txt"])
    assert entry_points.sections() == ["console_scripts"]
    ((name, value),) = entry_points["console_scripts"].items()
    assert name == "sb3-a2c-td"
    assert callable(EntryPoint(name, value, "console_scripts").load())
