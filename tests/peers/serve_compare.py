"""endort serve beside FastAPI: requests per second and P99 of process-frame, frames per second by WebSocket, memory.

    python serve_compare.py PROGRAM MODEL.onnx [SECONDS]

Both run the same network on the same machine, one after the other, never at once. Prints a table.
"""

import asyncio
import http.client
import pathlib
import socket
import subprocess
import sys
import threading
import time

import cv2
import numpy as np
import websockets

API = "/api/v1/realtime"
PROGRAM, MODEL = sys.argv[1], sys.argv[2]
SECONDS = float(sys.argv[3]) if len(sys.argv) > 3 else 20
HERE = pathlib.Path(__file__).parent


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def picture(seed=0, size=(640, 480)):
    noise = np.random.default_rng(seed).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    return cv2.imencode(".jpg", cv2.resize(noise, size))[1].tobytes()


def memory(process, field):
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith(field))


def requests(port, clients):
    body, times, until = picture(), [], time.monotonic() + SECONDS

    def client():
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        while time.monotonic() < until:
            begin = time.perf_counter()
            connection.request("POST", API + "/video/process-frame", body, {"Content-Type": "image/jpeg"})
            response = connection.getresponse()
            response.read()
            assert response.status == 200, response.status
            times.append(time.perf_counter() - begin)

    threads = [threading.Thread(target=client) for _ in range(clients)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    times.sort()
    return len(times) / SECONDS, times[int(len(times) * 0.99)] * 1e3


async def frames(port):
    """One picture on the wire at a time: what the server can do, without what it drops."""
    body, count = picture(), 0
    async with websockets.connect(f"ws://127.0.0.1:{port}{API}/video/stream", max_size=None, compression=None) as server:
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            await server.send(body)
            while '"result"' not in await server.recv():
                pass
            count += 1
    return count / SECONDS


def measure(name, command, port):
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            try:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
                connection.request("GET", "/healthz")
                connection.getresponse().read()
                break
            except OSError:
                time.sleep(0.1)
        idle = memory(process, "VmRSS")
        one, one_p99 = requests(port, 1)
        four, four_p99 = requests(port, 4)
        pushed = asyncio.run(frames(port))
        print(f"| {name} | {one:.1f} | {one_p99:.1f} | {four:.1f} | {four_p99:.1f} | {pushed:.1f} | {idle:.0f} |"
              f" {memory(process, 'VmHWM'):.0f} |")
    finally:
        process.terminate()
        process.wait()


print("| server | 1 client, requests/s | P99 ms | 4 clients, requests/s | P99 ms | WebSocket, frames/s | idle MB | peak MB |")
print("|---|---|---|---|---|---|---|---|")
port = free_port()
measure("endort serve", [PROGRAM, "serve", "-q", "--listen", f"127.0.0.1:{port}", "--model", MODEL], port)
port = free_port()
measure("FastAPI, uvicorn, OpenCV, ONNX Runtime", [sys.executable, HERE / "serve_fastapi.py", str(port), MODEL], port)
