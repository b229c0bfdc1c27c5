"""Pictures pushed to `endort serve` by WebSocket at a camera's rate: each is answered or told dropped, and how soon.

    pip install websockets opencv-python-headless
    python serve_push.py PROGRAM PICTURE [--seconds 60] [--fps 30] [--size 640x480] [ARGUMENTS OF SERVE...]

Prints what became of the pictures and the round trip, from just before a picture is sent to just after its answer was
read, both in Python on this machine. Exits with 1 if a picture got no answer or the P99 is 100 ms or more.
"""

import argparse
import asyncio
import json
import subprocess
import time

import cv2
import numpy as np
import websockets

parser = argparse.ArgumentParser()
parser.add_argument("program")
parser.add_argument("picture")
parser.add_argument("--seconds", type=float, default=60)
parser.add_argument("--fps", type=float, default=30)
parser.add_argument("--size", default="640x480")
args, more = parser.parse_known_args()

SIZE = tuple(map(int, args.size.split("x")))
WARM_UP = 30


def pictures():
    """A picture, moved by a few pixels each time so that no two in a row are equal."""
    picture = cv2.resize(cv2.imread(args.picture), SIZE)
    return [cv2.imencode(".jpg", np.roll(picture, 4 * step, axis=1))[1].tobytes() for step in range(8)]


async def push(address, frames, count):
    sent, trips, fate = {}, [], {"result": 0, "dropped": 0, "error": 0}
    async with websockets.connect(address, compression=None) as socket:
        await socket.recv()

        async def send():
            begin = time.perf_counter()
            for number in range(count):
                await asyncio.sleep(max(0, begin + number / args.fps - time.perf_counter()))
                sent[number] = time.perf_counter()
                await socket.send(frames[number % len(frames)])

        sending = asyncio.create_task(send())
        for number in range(count):
            message = json.loads(await asyncio.wait_for(socket.recv(), 30))
            assert message["frame_id"] == number, message
            if number >= WARM_UP:
                fate[message["type"]] += 1
                if message["type"] == "result":
                    trips.append((time.perf_counter() - sent[number]) * 1e3)
        await sending
    return fate, sorted(trips)


command = [args.program, "serve", "-q", "--listen", "127.0.0.1:0", *more]
server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
try:
    url = server.stdout.readline().strip().replace("http", "ws", 1)
    frames, count = pictures(), round(args.seconds * args.fps) + WARM_UP
    fate, trips = asyncio.run(push(url + "api/v1/realtime/video/stream", frames, count))
finally:
    server.terminate()
    server.wait()

at = lambda share: trips[min(int(len(trips) * share), len(trips) - 1)]
print(f"{count - WARM_UP} pictures of {len(frames[0]) >> 10} KiB at {args.fps:g} per second: {fate['result']} analysed,"
      f" {fate['dropped']} told dropped, {fate['error']} errors, none without an answer")
print(f"round trip P50 {at(0.5):.1f} ms, P95 {at(0.95):.1f} ms, P99 {at(0.99):.1f} ms, longest {trips[-1]:.1f} ms")
raise SystemExit(fate["error"] > 0 or at(0.99) >= 100)
