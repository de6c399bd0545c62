"""A real browser for tests of pages: Chromium, without a window.

On a machine of continuous integration (the variable CI is set, root, Debian)
the browser is installed if there is none; elsewhere that is left to people.
"""

import contextlib
import os
import shutil
import subprocess

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
# Fetching may be slow and can be given up at any time; unpacking is not.
_FETCH = (
  ["apt-get", "update", "-qq"],
  ["apt-get", "install", "-qq", "-y", "--download-only"],
)
_FETCH_SECONDS = 180
_UNPACK_SECONDS = 300


def _install(name):
  """Installs a Debian package; returns why it could not, or None."""
  if not os.environ.get("CI"):
    return f"no Chromium is installed (Debian: apt-get install {name})"
  if os.geteuid() != 0 or not shutil.which("apt-get"):
    return "no Chromium is installed, and only root of a Debian can do it here"
  small = ["--no-install-recommends", name]
  environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
  try:
    for command in _FETCH:
      subprocess.run(
        command if "update" in command else [*command, *small],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
        timeout=_FETCH_SECONDS,
      )
    subprocess.run(
      ["apt-get", "install", "-qq", "-y", *small],
      env=environment,
      check=True,
      capture_output=True,
      text=True,
      timeout=_UNPACK_SECONDS,
    )
  except subprocess.CalledProcessError as error:
    return f"apt-get could not install Chromium: {error.stderr.strip()[-300:]}"
  except subprocess.TimeoutExpired as error:
    return f"apt-get took too long to install Chromium: {error}"
  return None


@contextlib.contextmanager
def chromium():
  """Playwright's handle of a started Chromium; skips the test without one."""
  api = pytest.importorskip(
    "playwright.sync_api", reason="playwright of the extra dev is missing"
  )
  path = next(filter(None, map(shutil.which, BROWSERS)), None)
  if path is None:
    if why := _install("chromium"):
      pytest.skip(why)
    path = shutil.which("chromium")
  with api.sync_playwright() as playwright:
    # Root has no sandbox, and nothing is opened but pages of our own.
    started = playwright.chromium.launch(
      executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"]
    )
    yield started
    started.close()


@contextlib.contextmanager
def opened(browser, file):
  """A page of a file; what it says and asks for is collected.

  Its `complaints` are the console's words, errors and dialogs, its `requests`
  addresses.
  """
  context = browser.new_context(viewport={"width": 1280, "height": 900})
  page = context.new_page()
  page.complaints, page.requests = [], []
  page.on("console", lambda message: page.complaints.append(message.text))
  page.on("pageerror", lambda error: page.complaints.append(str(error)))
  page.on("dialog", lambda dialog: page.complaints.append(dialog.message))
  page.on("request", lambda request: page.requests.append(request.url))
  page.goto(file.as_uri(), wait_until="load")
  yield page
  context.close()
