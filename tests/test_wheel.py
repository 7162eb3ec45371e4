"""The wheel stands alone: installed elsewhere it carries the app, and says so where the clone is needed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
import time
import tomllib
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import yaml

from mimic import __version__
from mimic.runs import demo
from mimic.runs.launch import free_port

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel installed in `site`, over this environment's dependencies."""
    place = tmp_path_factory.mktemp("elsewhere")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run(
        [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", place, ROOT], check=True, cwd=place
    )
    (wheel,) = place.glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--no-index", "--target", place / "site", wheel], check=True)
    return place


def command(elsewhere: Path, *arguments: str) -> tuple[list[str], dict[str, str]]:
    return [sys.executable, "-m", "mimic.cli", *arguments], os.environ | {"PYTHONPATH": str(elsewhere / "site")}


def test_the_package_is_the_installed_one(elsewhere: Path) -> None:
    _, environment = command(elsewhere)
    code = "import mimic; print(mimic.__file__)"
    output = subprocess.check_output([sys.executable, "-c", code], cwd=elsewhere, env=environment, text=True)
    assert Path(output.strip()).is_relative_to(elsewhere / "site")


def test_the_wheel_holds_the_app_the_types_and_the_licence(elsewhere: Path) -> None:
    package = elsewhere / "site" / "mimic"
    pages = {path.relative_to(ROOT / "pages") for path in (ROOT / "pages").rglob("*") if path.suffix in {".py", ".png"}}
    assert {path for path in pages if not (package / "_app" / "pages" / path).is_file()} == set()
    assert (package / "_app" / "app.py").is_file()
    assert (package / "_app" / ".streamlit" / "config.toml").is_file()
    assert (package / "py.typed").is_file()
    assert list((elsewhere / "site").glob("*.dist-info/licenses/LICENSE"))


def test_the_app_is_served_from_the_wheel(elsewhere: Path) -> None:
    workspace, port = elsewhere / "workspace", free_port(8700)
    workspace.mkdir()
    arguments, environment = command(elsewhere, "app", str(workspace), "--port", str(port))
    server = subprocess.Popen(arguments, cwd=elsewhere, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        for _ in range(100):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=5) as answer:
                    assert answer.read() == b"ok"
                    break
            except OSError:
                assert server.poll() is None
                time.sleep(0.2)
        else:
            pytest.fail("the app did not answer within 20 seconds")
    finally:
        server.terminate()
        server.wait(timeout=20)
    with pytest.raises(urllib.error.URLError):  # whoever ends the command ends the server
        urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=5)


def test_the_demo_needs_the_clone_and_says_so(elsewhere: Path) -> None:
    arguments, environment = command(elsewhere, "demo", "--no-app")
    result = subprocess.run(arguments, cwd=elsewhere, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "clone" in result.stderr
    assert "Traceback" not in result.stderr


def run(*command: object, cwd: Path) -> str:
    """What a command prints; in an environment that knows nothing of this one."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    kept |= {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_", "HTTPS_", "https_"))}
    ended = subprocess.run([*map(str, command)], cwd=cwd, env=kept, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-2000:]
    return ended.stdout


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_wheel_and_sdist_in_a_clean_environment(elsewhere: Path, tmp_path: Path) -> None:
    """Installed with the pinned dependencies and nothing else: a wheel that scores, an sdist that is a clone."""
    run(sys.executable, "-m", "venv", tmp_path / "env", cwd=tmp_path)
    python, mimic = tmp_path / "env/bin/python", tmp_path / "env/bin/mimic"
    pip = [python, "-m", "pip", "--disable-pip-version-check", "--quiet", "install", "-c", ROOT / "constraints.txt"]
    (wheel,) = elsewhere.glob("*.whl")
    run(*pip, wheel, cwd=tmp_path)
    told = json.loads(run(mimic, "doctor", "--json", "--workspace", tmp_path / "w", cwd=tmp_path))
    assert told["fit"]
    assert "mimic-score[models]" in str(told)  # an extra that is not there says how to get it
    data = ROOT / "sample_data"
    run(mimic, "import", data / "manifest.csv", "--dataset", "photos", "--workspace", "w", cwd=tmp_path)
    weights = ["--reference", data / "reference.safetensors", "--start", data / "start.safetensors"]
    scored = run(
        mimic, "score", "photos", "--model", demo.MODEL, *weights, "--limit", 256, "--workspace", "w", cwd=tmp_path
    )
    assert "published" in scored

    run(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", tmp_path / "dist", cwd=ROOT)
    (sdist,) = (tmp_path / "dist").glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "clone", filter="data")
    (clone,) = (tmp_path / "clone").iterdir()
    run(*pip, "--no-deps", "--force-reinstall", "-e", clone, cwd=tmp_path)
    assert "How well each signal finds" in run(mimic, "demo", "--no-app", "--workspace", "d", cwd=tmp_path)


def test_versions_agree() -> None:
    """Of the distribution, the CHANGELOG's sections and CITATION.cff, which has what its schema asks for."""
    licence = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["license"]
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert (cited["version"], cited["license"]) == (__version__, licence)
    assert {"cff-version", "message", "title", "authors"} <= set(cited)
    for reference in cited["references"]:
        assert {"type", "title", "authors"} <= set(reference)
    sections = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    released = [section for section in sections if section != "Unreleased"]
    assert all(re.fullmatch(r"\d+\.\d+\.\d+ \(\d{4}-\d{2}-\d{2}\)", section) for section in released)
    assert released[0].startswith(__version__)
