"""The site: built with every warning an error, and read in a browser without a request to anywhere else."""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.commands import ROOT, verbs

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("material")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_references_are_generated(site: Path) -> None:
    commands = (site / "reference/commands.html").read_text()
    for name, verb in verbs().items():
        assert f"probe {name}" in commands
        assert all(option in commands for parameter in verb.params for option in parameter.opts if option[0] == "-")
    assert "neighbourhood_overlap" in (site / "reference/measures.html").read_text()
    assert 'id="manifold_probe.distillation.coss.coss_loss"' in (site / "reference/distillation.html").read_text()
    assert "make demo" in (site / "index.html").read_text()


@pytest.mark.parametrize("width", [360, 1440])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_asks_another_host(site: Path, address: str, width: int, scheme: str) -> None:
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed")
    pages = sorted(path.relative_to(site).as_posix() for path in site.rglob("*.html") if path.name != "404.html")
    requests: list[str] = []
    problems: list[str] = []
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page.on("request", lambda request: requests.append(request.url))
        page.on("pageerror", lambda error: problems.append(str(error)))
        for name in pages:
            page.goto(f"{address}/{name}", wait_until="networkidle")
            wide = page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
            problems += [f"{name} scrolls sideways"] if wide else []
        browser.close()
    assert pages
    assert not problems
    assert not [url for url in requests if not url.startswith((address, "data:", "blob:"))]
