"""endort serve beside FastAPI: requests per second and P99 of process-frame, frames per second by WebSocket, memory.

    pip install fastapi 'uvicorn[standard]' websockets python-multipart opencv-python-headless onnxruntime numpy
    python serve_compare.py PROGRAM PACKAGE PICTURE [--rounds 7] [--seconds 4] [--size 640x480] [--no-spin]

Both run the network of the model PACKAGE on the same machine. Both are started once; then they take turns, a few
seconds each, in an order that alternates, so that whatever else the machine does meets both. Printed are the medians
over the rounds and the median of each round's ratio (above 1: endort is ahead), with the ratio's quartiles. On a
busy machine the processor time per request says most. `--no-spin` is the peer's setting for busy machines.
"""

import argparse
import asyncio
import http.client
import json
import os
import pathlib
import socket
import statistics
import subprocess
import sys
import threading
import time

import cv2
import websockets

API = "/api/v1/realtime"
HERE = pathlib.Path(__file__).parent

parser = argparse.ArgumentParser()
parser.add_argument("program")
parser.add_argument("package", type=pathlib.Path)
parser.add_argument("picture")
parser.add_argument("--rounds", type=int, default=7)
parser.add_argument("--seconds", type=float, default=4)
parser.add_argument("--size", default="640x480")
parser.add_argument("--no-spin", action="store_true")
args = parser.parse_args()
BODY = cv2.imencode(".jpg", cv2.resize(cv2.imread(args.picture), tuple(map(int, args.size.split("x")))))[1].tobytes()
NETWORK = args.package / json.loads((args.package / "model.json").read_text())["artifact"]


class Server:
    def __init__(self, name, command):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.name = name
        command = [part.format(port=self.port) for part in map(str, command)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def connect(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def wait(self):
        for _ in range(600):
            try:
                connection = self.connect()
                connection.request("GET", "/healthz")
                return connection.getresponse().read()
            except OSError:
                time.sleep(0.1)
        raise SystemExit(f"{self.name} does not answer")

    def processor_ms(self):
        """Time on the processor so far, of all threads."""
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") * 1e3

    def memory(self, field):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith(field))


def p99(times):
    return sorted(times)[int(len(times) * 0.99)] * 1e3


def requests(server, clients, seconds):
    """Requests per second, P99 and processor time of each in ms; each client has one request under way."""
    times, until = [], time.monotonic() + seconds

    def client():
        connection = server.connect()
        while time.monotonic() < until:
            begin = time.perf_counter()
            connection.request("POST", API + "/video/process-frame", BODY, {"Content-Type": "image/jpeg"})
            response = connection.getresponse()
            record = response.read()
            assert response.status == 200, record
            times.append(time.perf_counter() - begin)

    begin, spent = time.monotonic(), server.processor_ms()
    threads = [threading.Thread(target=client) for _ in range(clients)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    return len(times) / (time.monotonic() - begin), p99(times), (server.processor_ms() - spent) / len(times)


async def frames(server, seconds):
    """Answers per second, P99 and processor time of each in ms; one picture on the wire at a time: nothing is dropped."""
    times, until = [], time.monotonic() + seconds
    address = f"ws://127.0.0.1:{server.port}{API}/video/stream"
    async with websockets.connect(address, max_size=None, compression=None) as socket_:
        begin, spent = time.monotonic(), server.processor_ms()
        while time.monotonic() < until:
            sent = time.perf_counter()
            await socket_.send(BODY)
            while '"result"' not in await socket_.recv():
                pass
            times.append(time.perf_counter() - sent)
        return len(times) / (time.monotonic() - begin), p99(times), (server.processor_ms() - spent) / len(times)


WORK = {
    "process-frame, 1 client": lambda server, seconds: requests(server, 1, seconds),
    "process-frame, 4 clients": lambda server, seconds: requests(server, 4, seconds),
    "WebSocket": lambda server, seconds: asyncio.run(frames(server, seconds)),
}

ours = Server("endort", [args.program, "serve", "-q", "--listen", "127.0.0.1:{port}", "--model", args.package])
peer = Server("FastAPI", [sys.executable, HERE / "serve_fastapi.py", "{port}", NETWORK, *["no-spin"][: args.no_spin]])
servers = [ours, peer]
try:
    [server.wait() for server in servers]
    idle = [server.memory("VmRSS") for server in servers]
    measured = {(work, server.name): [] for work in WORK for server in servers}
    for work, run in WORK.items():
        [run(server, 1) for server in servers]
        for number in range(args.rounds):
            for server in servers if number % 2 else reversed(servers):
                measured[work, server.name].append(run(server, args.seconds))
    print(f"{args.size} JPEG of {len(BODY) >> 10} KiB, {args.rounds} rounds of {args.seconds:g} s each\n")
    print("| | endort | FastAPI | endort is ahead by | quartiles |\n|---|---|---|---|---|")
    for work in WORK:
        pairs = list(zip(measured[work, ours.name], measured[work, peer.name]))
        for index, unit in enumerate(["per second", "P99 ms", "processor ms each"]):
            values = [[side[index] for side in pair] for pair in pairs]
            ratios = [a / b if index == 0 else b / a for a, b in values]
            medians = [statistics.median(side) for side in zip(*values)]
            low, _, high = statistics.quantiles(ratios, n=4)
            print(f"| {work}, {unit} | {medians[0]:.1f} | {medians[1]:.1f} | {statistics.median(ratios):.2f} |"
                  f" {low:.2f} to {high:.2f} |")
    for what, values in [("idle", idle), ("peak", [server.memory("VmHWM") for server in servers])]:
        print(f"| memory, {what}, MB | {values[0]:.0f} | {values[1]:.0f} | {values[1] / values[0]:.2f} | |")
finally:
    for server in servers:
        server.process.terminate()
        server.process.wait()
