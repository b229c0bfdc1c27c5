"""A room of `endort serve` that is fed over RTSP by GStreamer's server: delays of picture and findings, lost frames.

    apt install ffmpeg python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-good
    python serve_rtsp.py PROGRAM [--minutes 30] [--sizes 1280x720,1920x1080] [ARGUMENTS OF SERVE...]

H.264 at 30 frames per second without B-frames, as encoders of cameras send it, made beforehand from the sample and
repeated for the whole time, so that encoding takes nothing from the processor. A room is measured after another, each
on a server of its own. Limits: video delay P99.9 5.75 ms beyond decoding, annotation P99 120 ms, no frame lost from the
video lane. Figures are those of /video/stats, whose counts are compared with /metrics; the first 10 s count as well.
"""

import argparse
import json
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
API = "api/v1/realtime/video/"
FPS, VIDEO_MS, ANNOTATION_MS = 30, 5.75, 120

parser = argparse.ArgumentParser()
parser.add_argument("program")
parser.add_argument("--minutes", type=float, default=30)
parser.add_argument("--sizes", default="1280x720,1920x1080")
args, more = parser.parse_known_args()


def film(folder, size):
    """A recording that is long enough."""
    once, whole = folder / f"{size}.mp4", folder / f"{size}-long.mp4"
    quiet = ["ffmpeg", "-y", "-loglevel", "error"]
    subprocess.run([*quiet, "-i", ROOT / "samples/colonoscopy-720p30.mp4", "-an", "-vf", f"scale={size.replace('x', ':')}",
                    "-r", str(FPS), "-c:v", "libx264", "-preset", "veryfast", "-crf", "26", "-bf", "0", "-g", str(FPS),
                    "-pix_fmt", "yuv420p", once], check=True)
    subprocess.run([*quiet, "-stream_loop", "-1", "-i", once, "-t", str(args.minutes * 60 + 60), "-c", "copy", whole],
                   check=True)
    return whole


def get(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read().decode()


def post(url, body):
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def sample(metrics, name):
    return float(next(line.rsplit(" ", 1)[1] for line in metrics.splitlines() if line.startswith(name)))


def measure(folder, size):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    camera = subprocess.Popen(["/usr/bin/python3", ROOT / "tests/rtsp_server.py", film(folder, size), port],
                              stdout=subprocess.PIPE, text=True)
    if camera.stdout.readline() != "ready\n":
        sys.exit("GStreamer's RTSP server does not start; see the packages above")
    server = subprocess.Popen([args.program, "serve", "-q", "--listen", "127.0.0.1:0", *more], stdout=subprocess.PIPE,
                              text=True)
    try:
        url = server.stdout.readline().strip()
        post(url + API + "start-stream", {"room": "or-1", "source": f"rtsp://127.0.0.1:{port}/live"})
        begin = time.monotonic()
        while time.monotonic() - begin < args.minutes * 60 + 5:
            time.sleep(1)
        room = json.loads(get(url + API + "stats?room=or-1"))["rooms"]["or-1"]
        metrics = get(url + "metrics")
        memory = pathlib.Path(f"/proc/{server.pid}/status").read_text().split("VmHWM:")[1].split()[0]
    finally:
        for process in [server, camera]:
            process.terminate()
            process.wait()
    figures = room["figures"]
    shown = sample(metrics, 'endort_room_video_delay_seconds_count{room="or-1"}')
    assert 0 <= shown - figures["frames_processed"] < 2 * FPS, (shown, figures)
    video, annotation = figures["video_delay_ms"], figures["latency_ms"]
    print(f"| {size} | {figures['frames_processed']} | {figures['frames_lost']} | {figures['frames_dropped']} |"
          f" {video['p50']:.2f} / {video['p99']:.2f} / {video['p999']:.2f} / {video['max']:.1f} |"
          f" {annotation['p50']:.1f} / {annotation['p99']:.1f} / {annotation['max']:.1f} |"
          f" {figures['stages_ms']['decode']['p50']:.1f} | {room['reconnects']} | {int(memory) / 1024:.0f} |", flush=True)
    return (figures["frames_lost"] == 0 and room["reconnects"] == 0 and video["p999"] <= VIDEO_MS
            and annotation["p99"] <= ANNOTATION_MS)


print("| source | pictures | lost | AI skipped | video delay P50 / P99 / P99.9 / max ms | annotation P50 / P99 / max ms |"
      " decode P50 ms | reconnects | peak MB |\n|---|---|---|---|---|---|---|---|---|", flush=True)
with tempfile.TemporaryDirectory() as folder:
    met = [measure(pathlib.Path(folder), size) for size in args.sizes.split(",")]
print("the limits are met" if all(met) else "a limit is not met")
sys.exit(not all(met))
