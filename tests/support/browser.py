"""A browser without a window, driven over its own debugging pipe: no driver, no library, no port.

Chromium reads commands from file descriptor 3 and writes answers and events to 4, each a JSON text that ends with a
zero byte (``--remote-debugging-pipe``).
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

NAMES = ("chromium", "google-chrome", "google-chrome-stable", "chromium-browser")
PATIENCE_S = 60.0

# Puts the two pipes where the browser looks for them, and becomes the browser.
_LAUNCHER = (
    "import fcntl, os, sys\n"
    "pipes = [fcntl.fcntl(int(number), fcntl.F_DUPFD, 10) for number in sys.argv[1:3]]\n"
    "os.dup2(pipes[0], 3), os.dup2(pipes[1], 4)\n"
    "os.execv(sys.argv[3], sys.argv[3:])\n"
)


def find_browser() -> str | None:
    """Where a Chromium is, if there is one that this can drive."""
    if sys.platform == "win32":
        return None
    found = filter(None, map(shutil.which, NAMES))
    # One in a snap is shut off from the pipes and from other folders than its own.
    return next((path for path in found if not os.path.realpath(path).startswith("/snap/")), None)


class BrowserError(Exception):
    """The browser refused a command, or a page's script threw."""


class Page:
    """One tab. ``complaints`` are what its scripts threw, and what the browser refused it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.WriteTransport) -> None:
        self.complaints: list[str] = []
        self._reader = reader
        self._writer = writer
        self._session: str | None = None
        self._sent = 0
        self._loaded = asyncio.Event()
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}

    async def listen(self) -> None:
        """Take what the browser says, until it is gone."""
        with suppress(asyncio.IncompleteReadError):
            while True:
                message = json.loads((await self._reader.readuntil(b"\0"))[:-1])
                if "id" in message:
                    self._answers.pop(message["id"]).set_result(message)
                elif message["method"] == "Page.loadEventFired":
                    self._loaded.set()
                elif message["method"] == "Runtime.exceptionThrown":
                    self.complaints.append(str(message["params"]["exceptionDetails"]))
                elif message["method"] == "Log.entryAdded":
                    entry = message["params"]["entry"]
                    if entry["source"] != "network":  # that a connection broke is no fault of the page's
                        self.complaints.append(entry["text"])
        for waiting in self._answers.values():
            waiting.set_exception(BrowserError("the browser is gone"))

    async def command(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command of the DevTools protocol, and return its result."""
        self._sent += 1
        number = self._sent
        message: dict[str, Any] = {"id": number, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        waiting = self._answers[number] = asyncio.get_running_loop().create_future()
        self._writer.write(json.dumps(message).encode() + b"\0")
        async with asyncio.timeout(PATIENCE_S):
            answer = await waiting
        if "error" in answer:
            raise BrowserError(f"{method}: {answer['error']}")
        result: dict[str, Any] = answer["result"]
        return result

    async def attach(self) -> None:
        """Open the tab."""
        target = await self.command("Target.createTarget", url="about:blank")
        attached = await self.command("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            await self.command(f"{domain}.enable")

    async def go(self, url: str) -> None:
        """Load a page."""
        await self._load("Page.navigate", url=url)

    async def reload(self) -> None:
        """Load the page again."""
        await self._load("Page.reload")

    async def _load(self, method: str, **params: Any) -> None:
        self._loaded.clear()
        result = await self.command(method, **params)
        if "errorText" in result:
            raise BrowserError(f"{params}: {result['errorText']}")
        async with asyncio.timeout(PATIENCE_S):
            await self._loaded.wait()

    async def value(self, expression: str) -> Any:
        """What an expression of JavaScript is on the page; of a promise, what it is kept with."""
        result = await self.command(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in result:
            raise BrowserError(str(result["exceptionDetails"]))
        return result["result"].get("value")

    async def until(self, expression: str) -> Any:
        """Wait until an expression is true on the page; a failure shows what the page says then."""
        found = await self.value(
            f"""new Promise((resolve) => {{
                const observer = new MutationObserver(look);
                const timer = setTimeout(() => done(null), {PATIENCE_S * 500});
                function done(value) {{ observer.disconnect(); clearTimeout(timer); resolve(value); }}
                function look() {{ const value = {expression}; if (value) done(value); }}
                const all = {{ subtree: true, childList: true, attributes: true, characterData: true }};
                observer.observe(document, all);
                look();
            }})"""
        )
        if found is None:
            text = await self.value("document.body.innerText")
            raise AssertionError(f"it never was: {expression}\n{self.complaints}\n{text}")
        return found

    async def click(self, selector: str) -> None:
        """Click in the middle of an element, with the mouse."""
        name = json.dumps(selector)
        await self.until(f"document.querySelector({name})?.checkVisibility()")
        place = await self.value(
            f"(() => {{ const element = document.querySelector({name}); element.scrollIntoView({{block: 'center'}});"
            " const box = element.getBoundingClientRect();"
            " return {x: box.x + box.width / 2, y: box.y + box.height / 2}; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            await self.command("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **place)

    async def follow(self, selector: str) -> None:
        """Click on an element, and wait for the page that this leads to."""
        self._loaded.clear()
        await self.click(selector)
        async with asyncio.timeout(PATIENCE_S):
            await self._loaded.wait()

    async def type(self, selector: str, text: str) -> None:
        """Write into a field, as with the keyboard."""
        await self.click(selector)
        await self.command("Input.insertText", text=text)


@asynccontextmanager
async def open_page(browser: str, profile: Path) -> AsyncIterator[Page]:
    """Start a browser with a profile of its own, and open a tab; the browser is gone at the end."""
    loop = asyncio.get_running_loop()
    commands_out, commands_in = os.pipe()
    answers_out, answers_in = os.pipe()
    arguments = [
        "--headless=new",
        "--remote-debugging-pipe",
        f"--user-data-dir={profile}",
        "--no-first-run",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
    ]
    if os.geteuid() == 0:
        arguments.append("--no-sandbox")  # root gets none
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _LAUNCHER, str(commands_out), str(answers_in), browser, *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        pass_fds=(commands_out, answers_in),
    )
    os.close(commands_out)
    os.close(answers_in)
    reader = asyncio.StreamReader(limit=2**26)
    reading, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(answers_out, "rb", 0)
    )
    writer, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, os.fdopen(commands_in, "wb", 0))
    page = Page(reader, writer)
    listener = asyncio.create_task(page.listen())
    try:
        await page.attach()
        yield page
    finally:
        await _stop(process, writer)
        listener.cancel()
        await asyncio.gather(listener, return_exceptions=True)
        reading.close()


async def _stop(process: asyncio.subprocess.Process, writer: asyncio.WriteTransport) -> None:
    """End the browser: the end of its commands is one to end, and there is force."""
    writer.close()
    try:
        async with asyncio.timeout(PATIENCE_S / 6):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
