"""The wheel stands alone: installed elsewhere it carries the app, and says so where the clone is needed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

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
