"""What one room of `endort serve` feels of others: its P99 alone and beside rooms and viewers that behave badly.

    python serve_isolation.py PROGRAM [--rounds 7] [--seconds 8] [--source synthetic:640x480@30] [ARGUMENTS OF SERVE...]

In each round the room is started anew under each condition, in an order that turns, and its final figures are read.
Printed are the medians over the rounds, and the median of each round's ratio to the room alone, with its quartiles.
With `--runtime scripted:delay=12ms` the AI takes time and no processor, so that whatever is felt is endort's own doing;
without it, rooms also compete for the processor.
"""

import argparse
import contextlib
import json
import socket
import statistics
import subprocess
import time
import urllib.parse
import urllib.request

API = "/api/v1/realtime/video/"

parser = argparse.ArgumentParser()
parser.add_argument("program")
parser.add_argument("--rounds", type=int, default=7)
parser.add_argument("--seconds", type=float, default=8)
parser.add_argument("--source", default="synthetic:640x480@30")
args, more = parser.parse_known_args()

server = subprocess.Popen([args.program, "serve", "-q", "--listen", "127.0.0.1:0", *more], stdout=subprocess.PIPE,
                          text=True)
ADDRESS = urllib.parse.urlsplit(server.stdout.readline().strip()).netloc


def post(call, body):
    request = urllib.request.Request(f"http://{ADDRESS}{API}{call}", json.dumps(body).encode(),
                                     {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def wait_for_pictures(name):
    while True:
        with urllib.request.urlopen(f"http://{ADDRESS}{API}stats?room={name}", timeout=60) as answer:
            if json.load(answer)["rooms"][name]["figures"]["frames_processed"] > 0:
                return
        time.sleep(0.1)


@contextlib.contextmanager
def room(name, source, **settings):
    post("start-stream", {"room": name, "source": source, **settings})
    try:
        if not source.startswith("rtsp:"):
            wait_for_pictures(name)
        yield
    finally:
        post("stop-stream", {"room": name})


@contextlib.contextmanager
def viewer(name):
    """Asks for a room's pictures and never reads one."""
    host, port = ADDRESS.split(":")
    with socket.create_connection((host, int(port))) as stream:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stream.sendall((f"GET {API}stream?room={name}&pictures=jpeg HTTP/1.1\r\nHost: {ADDRESS}\r\nUpgrade: websocket\r\n"
                        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n").encode())
        yield


@contextlib.contextmanager
def silent():
    """A camera that lets connect and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as camera:
        with room("other", f"rtsp://127.0.0.1:{camera.getsockname()[1]}/live"):
            yield


@contextlib.contextmanager
def slow_viewer_elsewhere():
    with room("other", "synthetic:320x240@5", model="none"), viewer("other"):
        yield


CONDITIONS = {
    "alone": contextlib.nullcontext,
    "a viewer that reads nothing, of this room": contextlib.nullcontext,
    "a viewer that reads nothing, of another": slow_viewer_elsewhere,
    "a room without pictures (silent camera)": silent,
    "another room of the same kind": lambda: room("other", args.source),
    "a flood (1920x1080 at 60 per second)": lambda: room("other", "synthetic:1920x1080@60"),
}


def measure(condition):
    of_this = viewer("or-1") if condition.endswith("of this room") else contextlib.nullcontext()
    # The others are there first: a source takes a while to open.
    with CONDITIONS[condition]():
        post("start-stream", {"room": "or-1", "source": args.source})
        wait_for_pictures("or-1")
        with of_this:
            time.sleep(args.seconds)
        figures = post("stop-stream", {"room": "or-1"})["rooms"]["or-1"]["figures"]
    return figures["latency_ms"]["p50"], figures["latency_ms"]["p99"], figures["video_delay_ms"]["p99"], figures["frames_dropped"]


try:
    # Sources are rendered once and kept warm.
    measure("alone"), measure("a flood (1920x1080 at 60 per second)")
    found = {condition: [] for condition in CONDITIONS}
    names = list(CONDITIONS)
    for number in range(args.rounds):
        for condition in names[number % len(names):] + names[:number % len(names)]:
            found[condition].append(measure(condition))
finally:
    server.terminate()
    server.wait()

print(f"{args.source}, {args.rounds} rounds of {args.seconds:g} s, {' '.join(more) or 'the default model'}\n")
print("| beside the room | findings P50 ms | P99 ms | against alone | quartiles | picture P99 ms | AI skipped |\n"
      "|---|---|---|---|---|---|---|")
for condition, rounds in found.items():
    p50, p99, video, skipped = (statistics.median(values) for values in zip(*rounds))
    ratios = [this[1] / alone[1] for this, alone in zip(rounds, found["alone"])]
    low, _, high = statistics.quantiles(ratios, n=4)
    print(f"| {condition} | {p50:.1f} | {p99:.1f} | {statistics.median(ratios):.2f} | {low:.2f} to {high:.2f} |"
          f" {video:.2f} | {skipped:g} |")
