"""What the front door of `endort serve` stands: held and slow connections, giant lengths, sessions that come and go.

    python serve_abuse.py PROGRAM [HELD [SLOW [SESSIONS]]]        (1000, 200 and 20000 where nobody says)

Throughout, `/healthz` is asked fifty times a second; its P99, and memory and descriptors before and after, are printed.
Ends with 3 where a P99 is above 50 ms, or memory is not back within 10 MB, or descriptors are not back.
"""

import base64
import http.client
import os
import pathlib
import resource
import socket
import subprocess
import sys
import threading
import time

PROGRAM = sys.argv[1]
HELD, SLOW, SESSIONS = [int(value) for value in (*sys.argv[2:], *(1000, 200, 20000)[len(sys.argv) - 2:])][:3]
API = "/api/v1/realtime"

resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
server = subprocess.Popen([PROGRAM, "serve", "-q", "--listen", "127.0.0.1:0", "--runtime", "scripted:"], stdout=subprocess.PIPE)
host, port = server.stdout.readline().decode().strip().rstrip("/").split("://")[1].split(":")
ADDRESS = (host, int(port))


def connect():
    return socket.create_connection(ADDRESS, timeout=30)


def resident():
    status = pathlib.Path(f"/proc/{server.pid}/status").read_text()
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS"))


def descriptors():
    return len(os.listdir(f"/proc/{server.pid}/fd"))


times, worst, stop = [], [], threading.Event()


def ask_health():
    while not stop.wait(0.02):
        begin = time.perf_counter()
        connection = http.client.HTTPConnection(*ADDRESS, timeout=30)
        connection.request("GET", "/healthz")
        response = connection.getresponse()
        response.read()
        connection.close()
        assert response.status == 200
        times.append(time.perf_counter() - begin)


def tell(what):
    seen = sorted(times)
    times.clear()
    worst.append(seen[int(len(seen) * 0.99)] * 1e3)
    print(f"{what}: health P50 {seen[len(seen) // 2] * 1e3:.1f} ms, P99 {seen[int(len(seen) * 0.99)] * 1e3:.1f} ms of"
          f" {len(seen)}; {resident():.1f} MB, {descriptors()} descriptors", flush=True)


threading.Thread(target=ask_health, daemon=True).start()
time.sleep(3)
before = (resident(), descriptors())
tell("alone")

held = [connect() for _ in range(HELD)]
slow = held[:SLOW]
for one in slow:
    one.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ")
for _ in range(10):
    time.sleep(0.5)
    for one in slow:
        try:
            one.sendall(b"a")
        except OSError:
            pass
tell(f"{HELD} connections held, {SLOW} of them slow")

for exponent in range(20, 64):
    with connect() as one:
        one.sendall(f"POST {API}/video/process-frame HTTP/1.1\r\nHost: localhost\r\nContent-Length: {2 ** exponent}\r\n\r\n".encode())
        if 2 ** exponent > 32 << 20:
            assert one.recv(4096).startswith(b"HTTP/1.1 413 "), exponent
time.sleep(1)
tell("lengths up to 2^63")
for one in held:
    one.close()

key = base64.b64encode(bytes(16)).decode()
upgrade = (f"GET {API}/video/stream HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
           f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n").encode()
refused = 0
for _ in range(SESSIONS):
    with connect() as one:
        one.sendall(upgrade)
        refused += not one.recv(4096).startswith(b"HTTP/1.1 101 ")
tell(f"{SESSIONS} WebSocket sessions opened and dropped ({refused} refused)")
time.sleep(5)
stop.set()
after = (resident(), descriptors())
print(f"before {before[0]:.1f} MB and {before[1]} descriptors, after {after[0]:.1f} MB and {after[1]}")
connection = http.client.HTTPConnection(*ADDRESS)
connection.request("GET", "/metrics")
print("".join(f"{line}\n" for line in connection.getresponse().read().decode().splitlines() if line.startswith("endort_limit_hits_total")))
server.terminate()
code = server.wait()
met = max(worst) <= 50 and abs(after[0] - before[0]) <= 10 and after[1] <= before[1]
print("the limits are met" if met else "a limit is missed")
sys.exit(code if met else 3)
