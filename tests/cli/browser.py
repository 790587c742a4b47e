"""A headless Chromium, driven over its debugging pipe (one JSON message after the other, a NUL behind each).

FLASHMEM_BROWSER names the program; else the first of NAMES on the path is taken."""

import base64
import itertools
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


def program():
    """Path of the browser, or None."""
    named = os.environ.get("FLASHMEM_BROWSER")
    return named or next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """One browser process with one page at a time."""

    def __init__(self, folder, path=None):
        to_child, self._to = os.pipe()
        self._from, from_child = os.pipe()

        def place_pipes():  # the browser reads from 3 and writes to 4
            read, write = os.dup(to_child), os.dup(from_child)  # not onto each other
            os.dup2(read, 3)
            os.dup2(write, 4)

        # The sandbox needs what containers do not give; the pages are our own and reach no network.
        self._child = subprocess.Popen(
            [path or program(), "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
             "--no-first-run", "--disable-extensions", "--disable-background-networking", "--hide-scrollbars",
             f"--user-data-dir={folder}", "--remote-debugging-pipe", "about:blank"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, close_fds=False,
            preexec_fn=place_pipes, start_new_session=True)
        os.close(to_child)
        os.close(from_child)
        self._numbers = itertools.count(1)
        self._buffer = b""
        self._session = None
        self.events = []
        target = next(t for t in self.call("Target.getTargets")["targetInfos"] if t["type"] == "page")
        self._session = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def close(self):
        try:
            self._session = None
            self.call("Browser.close", timeout=10)
            self._child.wait(10)
        except Exception:
            self._child.kill()
            self._child.wait()
        os.close(self._to)
        os.close(self._from)

    def _receive(self, deadline):
        while b"\0" not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._from], [], [], left)[0]:
                raise TimeoutError("the browser does not answer")
            some = os.read(self._from, 1 << 20)
            if not some:
                raise EOFError("the browser ended")
            self._buffer += some
        message, self._buffer = self._buffer.split(b"\0", 1)
        message = json.loads(message)
        if "method" in message:
            self.events.append(message)
        return message

    def call(self, method, timeout=60, **parameters):
        number = next(self._numbers)
        request = {"id": number, "method": method, "params": parameters}
        if self._session:
            request["sessionId"] = self._session
        data = json.dumps(request).encode() + b"\0"
        while data:
            data = data[os.write(self._to, data):]
        deadline = time.monotonic() + timeout
        while True:
            message = self._receive(deadline)
            if message.get("id") == number:
                assert "error" not in message, f"{method}: {message['error']}"
                return message["result"]

    # --- pages --------------------------------------------------------------------------------------------------------

    def open(self, path, width=1400, height=1000, scheme="light"):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.call("Page.navigate", url="about:blank")
        self.events = []
        url = Path(path).resolve().as_uri()
        self.call("Page.navigate", url=url)
        deadline = time.monotonic() + 60
        while self.run("location.href + ' ' + document.readyState") != f"{url} complete":
            assert time.monotonic() < deadline, f"{url} is not loaded after 60 s"
            time.sleep(0.01)

    def run(self, script):
        """Value of an expression (awaited where it is a promise)."""
        done = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in done, f"{script}\n{done['exceptionDetails']}"
        return done["result"].get("value")

    def settle(self):
        """Two frames: what was asked for is drawn."""
        self.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))")

    def key(self, key, text=None, modifiers=0):
        codes = {"Enter": 13, "Escape": 27, "ArrowDown": 40, "ArrowUp": 38, "ArrowLeft": 37, "ArrowRight": 39, "Tab": 9,
                 "Home": 36, "End": 35}
        down = {"type": "keyDown", "key": key, "modifiers": modifiers, "windowsVirtualKeyCode": codes.get(key, 0)}
        if text or len(key) == 1:
            down["text"] = text or key
        self.call("Input.dispatchKeyEvent", **down)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key, modifiers=modifiers)

    def type(self, text):
        self.call("Input.insertText", text=text)

    def mouse(self, kind, x, y, **more):
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def click(self, x, y, count=1):
        for kind in ("mousePressed", "mouseReleased"):
            self.mouse(kind, x, y, button="left", clickCount=count)

    def complaints(self):
        """What the console, the log and uncaught exceptions say; requests that are not the page itself."""
        said = []
        for event in self.events:
            method, p = event["method"], event["params"]
            if method == "Runtime.consoleAPICalled":
                said.append(f"console.{p['type']}: {[a.get('value', a.get('description')) for a in p['args']]}")
            elif method == "Runtime.exceptionThrown":
                said.append(f"exception: {p['exceptionDetails']}")
            elif method == "Log.entryAdded":
                said.append(f"{p['entry']['level']}: {p['entry']['text']} {p['entry'].get('url', '')}")
            elif method == "Network.requestWillBeSent" and p["request"]["url"].split(":")[0] not in ("file", "data"):
                said.append(f"request: {p['request']['url']}")
            elif method == "Page.javascriptDialogOpening":
                said.append(f"dialog: {p['message']}")
        return said

    def picture(self, path, whole=False):
        data = self.call("Page.captureScreenshot", captureBeyondViewport=whole)["data"]
        Path(path).write_bytes(base64.b64decode(data))

    def print(self, path):
        data = self.call("Page.printToPDF", printBackground=False, preferCSSPageSize=True, paperWidth=8.27,
                         paperHeight=11.69)["data"]
        Path(path).write_bytes(base64.b64decode(data))
        return path
