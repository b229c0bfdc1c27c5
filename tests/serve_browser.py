"""The pages in Chromium, driven by its DevTools protocol, against a running `endort serve`.

usage: serve_browser.py ADDRESS CASE        (exit code 77: there is no Chromium)

With ENDORT_SCREENSHOTS set to a folder, each case leaves pictures of its pages there.
"""

import asyncio
import base64
import itertools
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import urllib.request

import cv2
import numpy as np
import websockets

ADDRESS = sys.argv[1]
API = "/api/v1/realtime"
CHROMIUM = next(filter(None, map(shutil.which, ["chromium", "chromium-browser", "google-chrome"])), None)


class Browser:
    """One page of a headless Chromium, with everything its console said."""

    async def __aenter__(self):
        self.folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0", "--window-size=1600,900",
                 "--lang=en", f"--user-data-dir={self.folder.name}", "--no-first-run", "--disable-dev-shm-usage"]
        self.process = subprocess.Popen([CHROMIUM, *flags, "about:blank"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        port_file = pathlib.Path(self.folder.name, "DevToolsActivePort")
        for _ in range(600):
            if port_file.exists() and port_file.read_text().count("\n"):
                break
            await asyncio.sleep(0.05)
        port = port_file.read_text().split("\n")[0]
        for _ in range(100):
            pages = json.load(urllib.request.urlopen(f"http://127.0.0.1:{port}/json"))
            pages = [page for page in pages if page["type"] == "page"]
            if pages:
                break
            await asyncio.sleep(0.05)
        self.socket = await websockets.connect(pages[0]["webSocketDebuggerUrl"], max_size=None)
        self.numbers, self.waiting, self.errors = itertools.count(1), {}, []
        self.reader = asyncio.create_task(self.read())
        for domain in ["Page", "Runtime", "Log"]:
            await self.call(f"{domain}.enable")
        return self

    async def __aexit__(self, *_):
        self.reader.cancel()
        self.process.terminate()
        self.process.wait()
        self.folder.cleanup()

    async def read(self):
        async for message in self.socket:
            message = json.loads(message)
            if "id" in message:
                self.waiting.pop(message["id"]).set_result(message)
            elif message["method"] == "Runtime.exceptionThrown":
                self.errors.append(json.dumps(message["params"])[:500])
            elif message["method"] == "Log.entryAdded" and message["params"]["entry"]["level"] == "error":
                self.errors.append(message["params"]["entry"]["text"] + " " + message["params"]["entry"].get("url", ""))

    async def call(self, method, **parameters):
        number = next(self.numbers)
        self.waiting[number] = asyncio.get_running_loop().create_future()
        await self.socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        answer = await asyncio.wait_for(self.waiting[number], 60)
        assert "error" not in answer, answer
        return answer["result"]

    async def open(self, path, address=ADDRESS):
        await self.call("Page.navigate", url=f"http://{address}{path}")

    async def run(self, script):
        answer = await self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def until(self, script, seconds=30):
        for _ in range(int(seconds * 20)):
            # The page that is asked about may not be there yet.
            value = await self.run(f"(() => {{ try {{ return {script} }} catch {{ return null }} }})()")
            if value:
                return value
            await asyncio.sleep(0.05)
        raise AssertionError(f"never: {script}: {await self.run('document.body.innerText')}")

    async def screenshot(self, name):
        folder = os.environ.get("ENDORT_SCREENSHOTS")
        if folder:
            picture = (await self.call("Page.captureScreenshot"))["data"]
            pathlib.Path(folder, f"{name}.png").write_bytes(base64.b64decode(picture))


class Gate:
    """A way to the server that can be barred: what is sent then waits, as it does where a cable was pulled."""

    async def __aenter__(self):
        self.passable = asyncio.Event()
        self.passable.set()
        self.server = await asyncio.start_server(self.connected, "127.0.0.1", 0)
        self.address = "127.0.0.1:%d" % self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self.passable.set()
        self.server.close()

    async def connected(self, reader, writer):
        try:
            far_reader, far_writer = await asyncio.open_connection(*ADDRESS.rsplit(":", 1))
        except OSError:
            writer.close()
            return
        await asyncio.gather(self.passed_on(reader, far_writer), self.passed_on(far_reader, writer))

    async def passed_on(self, reader, writer):
        try:
            while data := await reader.read(1 << 16):
                await self.passable.wait()
                writer.write(data)
                await writer.drain()
        except OSError:
            # One side has given up meanwhile; so does the other.
            pass
        finally:
            writer.close()


def post(path, body):
    request = urllib.request.Request(f"http://{ADDRESS}{API}{path}", json.dumps(body).encode(), {"Content-Type": "application/json"})
    return json.load(urllib.request.urlopen(request))


def viewers(room):
    rooms = json.load(urllib.request.urlopen(f"http://{ADDRESS}{API}/video/streams"))["rooms"]
    return next(info["viewers"] for info in rooms if info["room"] == room)


# Where red is in the picture and where the outline is in the canvas over it, at one moment.
MEASURE = """(() => {
  const box = (canvas, wanted) => {
    const { data, width, height } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    let [left, top, right, bottom] = [1e9, 1e9, -1, -1];
    for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) {
      const at = 4 * (y * width + x);
      if (!wanted(data[at], data[at + 1], data[at + 2], data[at + 3])) continue;
      [left, top, right, bottom] = [Math.min(left, x), Math.min(top, y), Math.max(right, x), Math.max(bottom, y)];
    }
    return right < 0 ? null : [left, top, right + 1, bottom + 1];
  };
  const stage = document.getElementById("stage");
  return {
    frame: Number(stage.dataset.frame),
    findingsFrame: Number(stage.dataset.findingsFrame),
    red: box(document.getElementById("picture"), (r, g, b) => r > 150 && g < 90 && b < 90),
    cyan: box(document.getElementById("findings"), (r, g, b, a) => a > 200 && g > 180 && b > 200 && r < 80),
  };
})()"""


async def looks(browser, count):
    """How many pixels the outline is off the square, for each of so many looks that saw both of the same frame."""
    off = []
    for _ in range(count):
        seen = await browser.run(MEASURE)
        if seen["frame"] == seen["findingsFrame"] and seen["red"] and seen["cyan"]:
            off.append(max(abs(a - b) for a, b in zip(seen["red"], seen["cyan"])))
        await asyncio.sleep(0.05)
    return off


async def findings_on_the_right_spot():
    """A red square that moves: the outline is on it, in the same frame, within four pixels."""
    post("/video/start-stream", {"room": "or-1", "source": "push", "model": "red.onnx"})

    async def film():
        async with websockets.connect(f"ws://{ADDRESS}{API}/video/stream?room=or-1&push=true", max_size=None) as camera:
            drain = asyncio.create_task(drained(camera))
            for number in itertools.count():
                # The network sees 64 columns: a cell of its mask is two pixels wide.
                picture = np.full((96, 128, 3), 90, np.uint8)
                left, top = 8 + number * 3 % 70, 20 + number * 2 % 40
                cv2.rectangle(picture, (left, top), (left + 39, top + 29), (30, 30, 220), -1)
                await camera.send(cv2.imencode(".png", picture)[1].tobytes())
                await asyncio.sleep(1 / 15)
            drain.cancel()

    filming = asyncio.create_task(film())
    async with Browser() as browser:
        await browser.open("/rooms/or-1")
        await browser.until("Number(document.getElementById('stage').dataset.frame) > 10 && document.getElementById('stage').dataset.findings === '1'")
        off = await looks(browser, 60)
        print(f"{len(off)} of 60 looks matched their frame; at most {max(off, default=None)} px off")
        assert len(off) >= 20, off
        assert max(off) <= 4, off
        await browser.until("document.querySelectorAll('#thumbnails img').length > 0")
        await browser.until("[...document.images].every((image) => image.complete && image.naturalWidth)")
        await browser.screenshot("room")
        state = await browser.run("document.getElementById('state').innerText")
        assert state == "running", state
        # Keys: findings off and on again.
        await browser.run("document.body.dispatchEvent(new KeyboardEvent('keydown', { code: 'KeyO', bubbles: true })) && 0")
        await browser.until(MEASURE + ".cyan === null")
        await browser.run("document.body.dispatchEvent(new KeyboardEvent('keydown', { code: 'KeyO', bubbles: true })) && 0")
        await browser.until(MEASURE + ".cyan !== null")
        # The camera goes: what was seen last is not shown as if it were live.
        filming.cancel()
        await browser.until("!document.getElementById('no-picture').hidden && document.getElementById('state').innerText === 'reconnecting'")
        await browser.screenshot("room-without-camera")
        # Another run, perhaps of another patient: nothing that was found in the one before is left.
        assert await browser.run("document.getElementById('count').innerText")
        post("/video/stop-stream", {"room": "or-1"})
        post("/video/start-stream", {"room": "or-1", "source": "push"})
        await browser.until("!document.querySelector('#thumbnails img') && !document.getElementById('count').innerText && document.getElementById('state').dataset.state === 'starting'")
        assert await browser.run(MEASURE + ".red") is None
        filming = asyncio.create_task(film())
        await browser.until("document.getElementById('stage').dataset.findings === '1' && document.querySelector('#thumbnails img') !== null")
        off = await looks(browser, 20)
        assert off and max(off) <= 4, off
        filming.cancel()
        assert not browser.errors, browser.errors


# Pictures are large enough for H.264, and a step of the square is larger than what may be off: the wrong frame shows.
WIDTH, HEIGHT, STEP = 256, 192, (14, 10)


async def film_h264(port):
    """A camera: the same square as H.264 in MPEG-TS over UDP, 20 pictures a second."""
    command = ["ffmpeg", "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "bgr24", "-s", f"{WIDTH}x{HEIGHT}", "-r", "20",
               "-i", "-", "-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-crf", "12", "-g", "20",
               "-pix_fmt", "yuv420p", "-flush_packets", "1", "-f", "mpegts", f"udp://127.0.0.1:{port}?pkt_size=1316"]
    encoder = await asyncio.create_subprocess_exec(*command, stdin=subprocess.PIPE)
    try:
        begin = asyncio.get_running_loop().time()
        for number in itertools.count():
            picture = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
            left, top = 16 + number * STEP[0] % 140, 30 + number * STEP[1] % 90
            cv2.rectangle(picture, (left, top), (left + 79, top + 59), (30, 30, 220), -1)
            encoder.stdin.write(picture.tobytes())
            await encoder.stdin.drain()
            await asyncio.sleep(max(0, begin + number / 20 - asyncio.get_running_loop().time()))
    finally:
        encoder.kill()
        await encoder.wait()


async def h264_as_it_came():
    """A camera's H.264 is played, with each picture's own findings on it, and does not fall behind."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    filming = asyncio.create_task(film_h264(port))
    post("/video/start-stream", {"room": "or-1", "source": f"udp://127.0.0.1:{port}", "model": "red.onnx"})
    async with Browser() as browser:
        await browser.open("/rooms/or-1")
        await browser.until("document.getElementById('stage').dataset.way === 'fmp4'")
        await browser.until("Number(document.getElementById('stage').dataset.frame) > 10 && document.getElementById('stage').dataset.findings === '1'")
        off = await looks(browser, 80)
        print(f"H.264: {len(off)} of 80 looks matched their frame; at most {max(off, default=None)} px off")
        assert len(off) >= 80 // 3, off
        assert max(off) <= 4, off
        await browser.screenshot("room-h264")
        behind = []
        for _ in range(20):
            behind.append(await browser.run("Number(document.getElementById('stage').dataset.behindMs)"))
            await asyncio.sleep(0.5)
        print(f"H.264: behind the newest picture by {min(behind):.0f} to {max(behind):.0f} ms over 10 s")
        assert max(behind[-5:]) < 800, behind
        ranges = await browser.run("(() => { const b = document.getElementById('video').buffered; return [b.start(0), b.end(b.length - 1)]; })()")
        assert ranges[1] - ranges[0] < 8, ranges
        assert not browser.errors, browser.errors
    # A browser that cannot play it, or cannot go on, gets pictures.
    async with Browser() as browser:
        await browser.call("Page.addScriptToEvaluateOnNewDocument", source="MediaSource.isTypeSupported = () => false;")
        await browser.open("/rooms/or-1")
        await browser.until("document.getElementById('stage').dataset.way === 'jpeg' && Number(document.getElementById('stage').dataset.frame) > 10")
        assert not browser.errors, browser.errors
    async with Browser() as browser:
        await browser.call("Page.addScriptToEvaluateOnNewDocument", source="SourceBuffer.prototype.appendBuffer = () => { throw new Error('full'); };")
        await browser.open("/rooms/or-1")
        await browser.until("document.getElementById('stage').dataset.way === 'jpeg' && Number(document.getElementById('stage').dataset.frame) > 10")
        assert not browser.errors, browser.errors
    filming.cancel()


async def drained(socket):
    async for _ in socket:
        pass


async def ai_off():
    """The AI stalls: the page says so within a second, and takes it back once findings come again."""
    async with Browser() as browser:
        await browser.open("/rooms/or-1")
        await browser.until("document.getElementById('now')?.innerText.includes('ms')")
        await browser.run("""
          window.result = 0; window.off = null;
          new MutationObserver(() => { if (!window.off) window.result = performance.now(); })
            .observe(document.getElementById("now"), { childList: true, characterData: true, subtree: true });
          new MutationObserver(() => {
            if (!document.getElementById("ai-off").hidden) window.off ??= performance.now() - window.result;
          }).observe(document.getElementById("ai-off"), { attributes: true });
          0""")
        took = await browser.until("window.off")
        print(f"AI OFF {took:.0f} ms after the last result")
        assert took < 1000, took
        await browser.screenshot("ai-off")
        before = await browser.run("Number(document.getElementById('stage').dataset.frame)")
        await browser.until(f"Number(document.getElementById('stage').dataset.frame) > {before + 3}")
        await browser.until("document.getElementById('ai-off').hidden")
        assert not browser.errors, browser.errors


async def pages():
    """All rooms, the description of the API, and the other language; nothing in the console."""
    async with Browser() as browser:
        await browser.open("/")
        await browser.until("document.querySelectorAll('.card').length === 2 && document.querySelector('.card canvas').width > 300")
        await asyncio.sleep(1)
        text = await browser.run("document.body.innerText")
        for wanted in ["or-1", "or-2", "running", "P99", "Start a room", "Not a medical device"]:
            assert wanted in text, (wanted, text)
        await browser.screenshot("rooms")
        await browser.open("/docs")
        await browser.until("document.querySelectorAll('#docs details').length > 20")
        await browser.run("document.querySelectorAll('#docs details')[10].open = true")
        # A form of a message that is another type and a word more leads to that type.
        forms = await browser.run("[...document.querySelectorAll('#Message h3 code')].map((code) => code.textContent)")
        assert forms == ["result", "dropped", "error", "picture", "video", "configured", "room"], forms
        await browser.run("document.querySelector('#Message a[href=\"#FrameRecord\"]').click()")
        await browser.until("document.getElementById('FrameRecord').open && document.getElementById('FrameRecord').innerText.includes('detections')")
        await browser.screenshot("docs")
        await browser.run("localStorage.setItem('language', 'fa')")
        await browser.open("/rooms/or-1")
        await browser.until("Number(document.getElementById('stage')?.dataset.frame) > 0")
        assert await browser.run("document.documentElement.dir") == "rtl"
        await asyncio.sleep(1)
        await browser.screenshot("room-persian")
        # Figures and sources stay in one piece, from left to right.
        assert await browser.run("getComputedStyle(document.querySelector('#p99 bdi')).direction") == "ltr"
        assert await browser.run("getComputedStyle(document.getElementById('start').elements.source).direction") == "ltr"
        await browser.open("/")
        await browser.until("document.querySelectorAll('.card').length === 2")
        await asyncio.sleep(1)
        await browser.screenshot("rooms-persian")
        # A room is started from the page.
        await browser.run("localStorage.setItem('language', 'en')")
        await browser.open("/")
        await browser.until("document.getElementById('start') && !document.getElementById('start').hidden")
        await browser.run("""(() => {
          const form = document.getElementById("start");
          form.elements.room.value = "or-3";
          form.elements.source.value = "gopher://nowhere";
          form.requestSubmit();
        })()""")
        await browser.until("!document.querySelector('#start .problem').hidden")
        # What the server refuses is an error in the console as well; that one is ours.
        browser.errors.clear()
        await browser.run("""(() => {
          const form = document.getElementById("start");
          form.elements.source.value = "synthetic:320x240@10";
          form.requestSubmit();
        })()""")
        await browser.until("location.pathname === '/rooms/or-3' && Number(document.getElementById('stage')?.dataset.frame) > 0")
        assert not browser.errors, browser.errors


async def left_behind():
    """A page that was left does not watch on, and watches again where the reader comes back to it."""

    async def watched_by(count):
        for _ in range(40):
            if viewers("or-1") == count:
                return
            await asyncio.sleep(0.05)
        raise AssertionError(f"{viewers('or-1')} viewers")

    async with Browser() as browser:
        frame = "Number(document.getElementById('stage').dataset.frame)"
        for path, there in [("/rooms/or-1", f"{frame} > 0"), ("/", "document.querySelector('.card canvas').width > 300")]:
            await browser.open(path)
            await browser.until(there)
            await browser.run("window.kept = true")
            await watched_by(1)
            await browser.open("/docs")
            await browser.until("document.querySelectorAll('#docs details').length > 20")
            await watched_by(0)
            await browser.run("history.back()")
            await browser.until(there)
            print(f"{path}: {'kept by the browser' if await browser.run('window.kept') else 'loaded again'}")
            await watched_by(1)
            if path != "/":
                before = await browser.run(frame)
                await browser.until(f"{frame} > {before + 3}")
        assert not browser.errors, browser.errors


async def over():
    """A room that is over, or that nobody started, is not asked for pictures; once it runs, it is watched again."""
    frame = "Number(document.getElementById('stage')?.dataset.frame)"
    async with Browser() as browser:
        await browser.open("/rooms/or-1")
        await browser.until(f"{frame} > 0")
        post("/video/stop-stream", {"room": "or-1"})
        await browser.until("document.getElementById('state').dataset.state === 'stopped'")
        await asyncio.sleep(2)
        await browser.open("/")
        await browser.until("document.querySelector('.card .state')?.dataset.state === 'stopped'")
        await asyncio.sleep(2)
        assert not browser.errors, browser.errors
        post("/video/start-stream", {"room": "or-1", "source": "synthetic:640x480@15"})
        await browser.until("document.querySelector('.card canvas').width > 300")
        await browser.open("/rooms/or-2")
        await browser.until("document.getElementById('no-picture')?.innerText")
        await asyncio.sleep(2)
        assert not browser.errors, browser.errors
        for _ in range(2):
            post("/video/start-stream", {"room": "or-2", "source": "synthetic:640x480@15"})
            await browser.until("document.getElementById('state').dataset.state === 'running' && document.getElementById('no-picture').hidden")
            post("/video/stop-stream", {"room": "or-2"})
            await browser.until("document.getElementById('state').dataset.state === 'stopped' && !document.getElementById('no-picture').hidden")
        assert not browser.errors, browser.errors


async def gone():
    """A server that vanishes without a word: the page takes back what it said, and says it again once it is back."""
    verdict = "document.getElementById('verdict').innerText"
    offline = "The server does not answer. Trying again …"
    async with Gate() as gate, Browser() as browser:
        await browser.open("/rooms/or-1", gate.address)
        await browser.until(f"{verdict}.includes('budget') && document.getElementById('no-picture').hidden")
        gate.passable.clear()
        begin = asyncio.get_running_loop().time()
        await browser.until(f"{verdict} === '{offline}'")
        took = asyncio.get_running_loop().time() - begin
        print(f"a server that is gone is said after {took:.1f} s")
        assert took < 12, took
        await browser.until("!document.getElementById('no-picture').hidden")
        said = await browser.run("document.getElementById('no-picture').innerText")
        assert offline in said, said
        assert await browser.run("document.getElementById('state').hidden && !document.getElementById('verdict').dataset.held")
        await browser.screenshot("room-without-server")
        gate.passable.set()
        await browser.until(f"{verdict}.includes('budget') && !document.getElementById('state').hidden")
        # Who the reader is may not be known at first; the page works all the same, and asks again.
        await browser.call("Page.addScriptToEvaluateOnNewDocument", source="""
          const real = fetch;
          window.fetch = (path, ...rest) => {
            if (path !== "/session" || window.refused) return real(path, ...rest);
            window.refused = true;
            return Promise.reject(new TypeError("gone"));
          };""")
        for path, there in [("/", "!document.getElementById('start').hidden"), ("/rooms/or-1", "!document.getElementById('stop').hidden")]:
            await browser.open(path)
            await browser.until(f"window.refused && {there}")


async def sign_in():
    """A token is asked for once, and what is wrong is said; with the role view nothing can be started."""
    problem = "document.querySelector('.problem:not([hidden])').innerText"
    async with Browser() as browser:
        await browser.open("/")
        await browser.until("document.getElementById('sign-in') && document.querySelector('button').innerText")
        await browser.screenshot("sign-in")
        submit = "(() => { const form = document.getElementById('sign-in'); form.elements.token.value = '%s'; form.requestSubmit(); })()"
        await browser.run(submit % "not-the-right-token")
        await browser.until(f"{problem} === 'This token is not known.'")
        browser.errors.clear()
        # Neither a server that is gone nor one that has no time says anything about the token.
        for answer in ["Promise.reject(new TypeError('gone'))", "Promise.resolve(new Response('', { status: 503 }))"]:
            await browser.run(f"window.real ??= window.fetch; window.fetch = () => {answer}; 0")
            await browser.run(submit % "view-token-0123456789")
            await browser.until(f"{problem} === 'The server cannot be reached. Try again in a moment.'")
        await browser.run("window.fetch = window.real; 0")
        # Typed on the keyboard of another script.
        await browser.run(submit % "رمز")
        await browser.until(f"{problem} === 'This token is not known.'")
        assert not browser.errors, browser.errors
        await browser.run(submit % "view-token-0123456789")
        await browser.until("document.querySelectorAll('.card').length === 1 && document.querySelector('.card canvas').width > 300")
        assert await browser.run("document.getElementById('start').hidden")
        assert not await browser.run("document.getElementById('sign-out').hidden")
        assert not browser.errors, browser.errors


if CHROMIUM is None:
    sys.exit(77)
asyncio.run({case.__name__: case for case in [findings_on_the_right_spot, h264_as_it_came, ai_off, pages, left_behind, over, gone, sign_in]}[sys.argv[2]]())
