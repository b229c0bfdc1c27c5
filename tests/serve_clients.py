"""WebSocket and HTTP clients that others wrote, against a running `endort serve`.

usage: serve_clients.py ADDRESS CASE
"""

import asyncio
import http.client
import json
import re
import sys
import time
import urllib.parse
import urllib.request

import cv2
import numpy as np
import websockets

ADDRESS = sys.argv[1]
API = "/api/v1/realtime"


def picture(seed=0, size=(640, 480), ending=".jpg"):
    """A picture with some texture, encoded."""
    noise = np.random.default_rng(seed).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    return cv2.imencode(ending, cv2.resize(noise, size))[1].tobytes()


def connect(max_queue=16, **query):
    address = f"ws://{ADDRESS}{API}/video/stream?{urllib.parse.urlencode(query)}"
    return websockets.connect(address, max_size=32 << 20, compression="deflate", max_queue=max_queue)


def post(path, body):
    connection = http.client.HTTPConnection(ADDRESS, timeout=30)
    connection.request("POST", API + path, json.dumps(body), {"Content-Type": "application/json"})
    response = connection.getresponse()
    return response.status, json.loads(response.read())


async def answers(socket, wanted):
    """Texts until `wanted` frames are settled; pictures with the text before them."""
    settled, pictures, announced = [], {}, None
    while len(settled) < wanted:
        message = await asyncio.wait_for(socket.recv(), 30)
        if isinstance(message, bytes):
            pictures[announced["frame_id"]] = (announced, message)
            continue
        message = json.loads(message)
        if message["type"] == "picture":
            announced = message
        elif "frame_id" in message:
            settled.append(message)
    return settled, pictures


async def camera_rate():
    """Thirty pictures a second: each is answered or reported dropped, in order, and soon."""
    frames = [picture(seed) for seed in range(8)]
    sent, trips = {}, []
    async with connect() as socket:
        assert "deflate" not in str(socket.response.headers.get("Sec-WebSocket-Extensions", ""))
        assert json.loads(await socket.recv())["type"] == "configured"

        async def push():
            begin = time.monotonic()
            for number in range(150):
                await asyncio.sleep(max(0, begin + number / 30 - time.monotonic()))
                sent[number] = time.monotonic()
                await socket.send(frames[number % len(frames)])

        pushing = asyncio.create_task(push())
        for number in range(150):
            message = json.loads(await asyncio.wait_for(socket.recv(), 30))
            assert message["frame_id"] == number, message
            assert message["type"] in ("result", "dropped"), message
            if message["type"] == "result":
                trips.append(time.monotonic() - sent[number])
                assert (message["width"], message["height"]) == (640, 480)
        await pushing
    trips.sort()
    print(f"{len(trips)} of 150 analysed; round trip P50 {trips[len(trips) // 2] * 1e3:.1f} ms,"
          f" P99 {trips[int(len(trips) * 0.99)] * 1e3:.1f} ms")
    assert len(trips) > 75


async def flood():
    """Pictures as fast as they go out: latency does not grow, the newest wins, nothing is unaccounted for."""
    frame = picture()
    async with connect() as socket:
        await socket.recv()

        async def push():
            for _ in range(400):
                await socket.send(frame)

        pushing = asyncio.create_task(push())
        settled, _ = await answers(socket, 400)
        await pushing
    assert [message["frame_id"] for message in settled] == list(range(400))
    kinds = [message["type"] for message in settled]
    print(f"{kinds.count('result')} of 400 analysed, {kinds.count('dropped')} dropped")
    assert kinds.count("result") + kinds.count("dropped") == 400
    assert all(message["reason"] == "newest_wins" for message in settled if message["type"] == "dropped")
    # The last picture is never stale.
    assert kinds[-1] == "result"


async def late_reader():
    """A client that sends long before it reads: it is held back, and no answer is lost."""
    async with connect(max_queue=1) as socket:

        async def push():
            for _ in range(6000):
                await socket.send(b"no picture")

        pushing = asyncio.create_task(push())
        await asyncio.sleep(2)
        settled, _ = await answers(socket, 6000)
        await pushing
    assert [message["frame_id"] for message in settled] == list(range(6000))


async def formats_and_errors():
    """Every kind of picture; what is none is told, and the session goes on."""
    async with connect(overlay="jpeg") as socket:
        configured = json.loads(await socket.recv())
        assert configured["overlay"] == "jpeg", configured
        for number, ending in enumerate([".jpg", ".png", ".webp", ".bmp", ".tiff"]):
            await socket.send(picture(1, (96, 64), ending))
            settled, _ = await answers(socket, 1)
            assert settled[0]["type"] == "result" and settled[0]["frame_id"] == number, settled
            announced = json.loads(await socket.recv())
            drawn = cv2.imdecode(np.frombuffer(await socket.recv(), np.uint8), cv2.IMREAD_COLOR)
            assert announced["type"] == "picture" and drawn.shape == (64, 96, 3)
        await socket.send(b"this is no picture")
        settled, _ = await answers(socket, 1)
        assert settled[0]["type"] == "error" and settled[0]["frame_id"] == 5, settled
        for text in ["{", '{"type":"nonsense"}', '{"type":"configure","modell":"none"}']:
            await socket.send(text)
            message = json.loads(await socket.recv())
            assert message["type"] == "error" and "frame_id" not in message, message
        await socket.send(json.dumps({"type": "configure", "model": "none", "overlay": "none", "max_latency_ms": 50}))
        configured = json.loads(await socket.recv())
        assert (configured["model"], configured["max_latency_ms"]) == ("none", 50.0), configured
        await socket.send(picture(2, (96, 64)))
        settled, _ = await answers(socket, 1)
        assert settled[0]["model"] == "none", settled
        pong = await socket.ping()
        await asyncio.wait_for(pong, 10)


async def room():
    """A room that one client fills and others watch; the camera goes and comes back."""
    status, started = post("/video/start-stream", {"room": "pushed", "source": "push"})
    assert status == 201, started

    async def watch(**query):
        async with connect(room="pushed", **query) as socket:
            first = json.loads(await socket.recv())
            assert first["type"] == "room" and first["room"] == "pushed", first
            return await answers(socket, 30)

    watchers = [asyncio.create_task(watch()) for _ in range(3)]
    watchers.append(asyncio.create_task(watch(pictures="jpeg")))
    watchers.append(asyncio.create_task(watch(overlay="jpeg", picture_fps=5)))
    await asyncio.sleep(0.3)

    async def film():
        async with connect(room="pushed", push="true") as camera:
            drain = asyncio.create_task(drained(camera))
            for number in range(45):
                await camera.send(picture(number % 4, (320, 240)))
                await asyncio.sleep(1 / 30)
            await asyncio.sleep(0.3)
            drain.cancel()

    await film()
    results = await asyncio.wait_for(asyncio.gather(*watchers), 30)
    for settled, _ in results:
        assert any(message["type"] == "result" for message in settled)
    plain, drawn = results[3][1], results[4][1]
    assert len(plain) > len(drawn) > 0, (len(plain), len(drawn))
    announced, jpeg = next(iter(plain.values()))
    decoded = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert decoded.shape == (240, 320, 3) and (announced["width"], announced["height"]) == (320, 240)

    async with connect(room="pushed") as watcher:
        assert json.loads(await watcher.recv())["state"] == "reconnecting"
        await film()
        states = []
        while "running" not in states:
            message = json.loads(await asyncio.wait_for(watcher.recv(), 10))
            if message["type"] == "room":
                states.append(message["state"])
        async with connect(room="pushed", push="true"):
            for query, expected in [({"push": "true"}, 409), ({"model": "none"}, 400), ({"nonsense": "1"}, 400)]:
                try:
                    async with connect(room="pushed", **query):
                        raise AssertionError(query)
                except websockets.exceptions.InvalidStatus as refused:
                    assert refused.response.status_code == expected, (query, refused)
        status, _ = post("/video/stop-stream", {"room": "pushed"})
        assert status == 200
        try:
            while True:
                await asyncio.wait_for(watcher.recv(), 10)
        except websockets.exceptions.ConnectionClosed as closed:
            assert closed.rcvd.code == 1000, closed
    for name, expected in [("pushed", 409), ("nowhere", 404)]:
        try:
            async with connect(room=name):
                raise AssertionError(name)
        except websockets.exceptions.InvalidStatus as refused:
            assert refused.response.status_code == expected, refused


async def flooded_room():
    """A camera that sends all at once: each picture is answered once, in order, and counted."""
    assert post("/video/start-stream", {"room": "flooded", "source": "push"})[0] == 201
    async with connect(room="flooded", push="true") as camera:
        for number in range(120):
            await camera.send(b"no picture" if number == 119 else picture(number % 4, (320, 240)))
        settled = []
        while len(settled) < 120:
            message = json.loads(await asyncio.wait_for(camera.recv(), 10))
            if message["type"] in ("result", "dropped", "error"):
                settled.append(message)
        assert [message["frame_id"] for message in settled] == list(range(120)), settled
        kinds = [message["type"] for message in settled]
        assert kinds[-1] == "error" and kinds.count("error") == 1, kinds
    with urllib.request.urlopen(f"http://{ADDRESS}/metrics") as answer:
        metrics = answer.read().decode()
    counted = {
        reason: int(re.search(rf'endort_room_drops_total{{room="flooded",reason="{reason}"}} (\d+)', metrics)[1])
        for reason in ("newest_wins", "not_analysed", "broken", "lost")
    }
    assert counted["newest_wins"] + counted["not_analysed"] == kinds.count("dropped"), (counted, kinds)
    # A flood may be more than the video lane shows in time: `lost` counts pictures not shown, whatever the AI did with them.
    assert counted["broken"] == 1 and counted["lost"] <= kinds.count("result") + kinds.count("dropped"), (counted, kinds)
    assert post("/video/stop-stream", {"room": "flooded"})[0] == 200


async def drained(socket):
    async for _ in socket:
        pass


async def video():
    """A room's H.264 in pieces of MP4: the head is announced, then a piece per picture, none before its frame is out."""
    room, path, wanted = sys.argv[3], sys.argv[4], int(sys.argv[5])
    pieces, origin, announced, texts = [], None, False, []
    async with connect(room=room, video="fmp4") as socket:
        try:
            while len(pieces) < wanted + 1:
                message = await asyncio.wait_for(socket.recv(), 30)
                if isinstance(message, bytes):
                    pieces.append(message)
                    continue
                message = json.loads(message)
                if message["type"] == "video":
                    assert not pieces, "announced before the head, and once"
                    origin = message["origin_ms"]
                    assert message["media_type"].startswith('video/mp4; codecs="avc1.'), message
                    size = [message["width"], message["height"]]
                if message["type"] == "result":
                    texts.append(message["pts_ms"])
        except websockets.ConnectionClosed as closed:
            assert closed.rcvd.code == 1000, closed
    assert pieces and pieces[0][4:8] == b"ftyp" and all(piece[4:8] == b"moof" for piece in pieces[1:])
    open(path, "wb").write(b"".join(pieces))
    print(json.dumps({"origin_ms": origin, "pieces": len(pieces) - 1, "size": size, "results": texts}))
    for query, detail in [({"video": "fmp4", "pictures": "jpeg"}, "exclude"), ({"video": "webm"}, "one of")]:
        try:
            async with connect(room=room, **query):
                raise AssertionError(query)
        except websockets.exceptions.InvalidStatus as refused:
            assert refused.response.status_code == 400 and detail in refused.response.body.decode(), refused.response


async def pictures():
    """What viewers of a room see, from the first picture on: as it came, with findings drawn, and thumbnails."""
    room, folder, wanted = sys.argv[3], sys.argv[4], int(sys.argv[5])

    async def save(name, **query):
        announced, count = None, 0
        async with connect(room=room, **query) as socket:
            while count < wanted:
                try:
                    message = await asyncio.wait_for(socket.recv(), 30)
                except websockets.ConnectionClosed:
                    break
                if isinstance(message, bytes):
                    assert announced, "a picture is announced"
                    open(f"{folder}/{name}-{count:03}.jpg", "wb").write(message)
                    count += 1
                elif json.loads(message)["type"] == "picture":
                    announced = message
                else:
                    assert json.loads(message)["type"] != "video"
        assert count > 5, (name, count)

    await asyncio.gather(
        save("plain", pictures="jpeg", picture_fps=8), save("drawn", overlay="jpeg", picture_fps=8), none(room)
    )
    connection = http.client.HTTPConnection(ADDRESS, timeout=30)
    connection.request("GET", f"{API}/rooms/{room}/findings")
    for seen in json.loads(connection.getresponse().read())["findings"]:
        connection.request("GET", f"{API}/rooms/{room}/findings/{seen['id']}")
        open(f"{folder}/thumbnail-{seen['id']:03}.jpg", "wb").write(connection.getresponse().read())


async def none(room):
    """A room without video to pass on sends no binary message to who asks for it."""
    async with connect(room=room, video="fmp4") as socket:
        until = time.monotonic() + 2
        while time.monotonic() < until:
            message = await asyncio.wait_for(socket.recv(), 30)
            assert isinstance(message, str) and json.loads(message)["type"] != "video", message[:100]


async def limits():
    """Messages that are too large, and pictures where none are wanted, end a session with the right code."""
    async with connect() as socket:
        await socket.recv()
        try:
            await socket.send(bytes((16 << 20) + 1))
            await drained(socket)
        except websockets.exceptions.ConnectionClosed:
            pass
        assert socket.close_code == 1009, socket.close_code
    post("/video/start-stream", {"room": "seen", "source": "synthetic:64x64@10"})
    async with connect(room="seen") as socket:
        await socket.send(picture())
        try:
            await drained(socket)
        except websockets.exceptions.ConnectionClosed:
            pass
        assert socket.close_code == 1003, socket.close_code


async def slow_viewer():
    """A viewer that reads nothing neither holds up a room nor fills the memory; another sees every second."""
    post("/video/start-stream", {"room": "slow", "source": "synthetic:640x480@30"})
    slow = await asyncio.open_connection(*ADDRESS.split(":"))
    slow[1].write(
        f"GET {API}/video/stream?room=slow&pictures=jpeg HTTP/1.1\r\nHost: {ADDRESS}\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
    )
    async with connect(room="slow", pictures="jpeg") as socket:
        while not isinstance(await asyncio.wait_for(socket.recv(), 60), bytes):
            pass
        begin, seen = time.monotonic(), 0
        while time.monotonic() - begin < 5:
            seen += isinstance(await asyncio.wait_for(socket.recv(), 5), bytes)
    print(f"{seen} pictures in 5 s beside a viewer that reads nothing")
    assert seen > 25
    slow[1].close()


asyncio.run({case.__name__: case for case in [camera_rate, flood, late_reader, formats_and_errors, room, flooded_room, limits, slow_viewer, video, pictures]}[sys.argv[2]]())
