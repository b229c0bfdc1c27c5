"""schemathesis against `endort serve` and its /openapi.json: all checks, on a server with tokens and on one without.

    pip install schemathesis opencv-python-headless
    python serve_schemathesis.py PROGRAM [EXAMPLES_PER_CALL [SEED]]

Starts a server for each of the two in a folder of its own and says what was found; exits with 1 if it was anything.
"""

import importlib.util
import os
import pathlib
import subprocess
import sys
import tempfile

if any(importlib.util.find_spec(name) is None for name in ["schemathesis", "cv2"]):
    sys.exit(77)

PROGRAM = os.path.abspath(sys.argv[1])
EXAMPLES, SEED = (sys.argv[2:] + ["50", "1"][len(sys.argv) - 2 :])[:2]
TOKEN = "operate-token-0123456789"

# OpenAPI has no words for a WebSocket: a plain GET is answered with 426, before its parameters are looked at.
CONFIG = """
[[operations]]
include-operation-id = "Stream"
checks.positive_data_acceptance.expected-statuses = ["426"]
checks.negative_data_rejection.expected-statuses = ["401", "426"]
"""

# Pictures that a server can be expected to decode. The rest of what is generated stays as it is.
HOOKS = """
import cv2
import numpy
import schemathesis
from hypothesis import strategies

def encoded(kind):
    return strategies.just(cv2.imencode("." + kind, numpy.full((16, 24, 3), 90, numpy.uint8))[1].tobytes())

for kind in ["jpeg", "png", "webp", "bmp", "tiff"]:
    schemathesis.openapi.media_type("image/" + kind, encoded(kind))
schemathesis.openapi.format("binary", encoded("png"))
"""


def run(folder, tokens):
    server_args = ["--token-file", "tokens"] if tokens else []
    (folder / "tokens").write_text(f"view door view-token-0123456789\noperate desk {TOKEN}\n")
    (folder / "schemathesis.toml").write_text(CONFIG)
    (folder / "hooks.py").write_text(HOOKS)
    command = [PROGRAM, "serve", "-q", "--listen", "127.0.0.1:0", "--runtime", "scripted:",
               "--room", "or-1=synthetic:64x64@10", *server_args]
    server = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True)
    try:
        url = server.stdout.readline().strip() + "openapi.json"
        command = [pathlib.Path(sys.executable).with_name("schemathesis"), "run", url, "-c", "all", "-n", EXAMPLES,
                   "--seed", SEED, "--warnings", "off", "--output-sanitize", "false"]
        command += ["-H", f"Authorization: Bearer {TOKEN}"] if tokens else []
        return subprocess.run(command, cwd=folder, env={**os.environ, "SCHEMATHESIS_HOOKS": "hooks"}).returncode
    finally:
        server.terminate()
        server.wait()


found = []
for tokens in [True, False]:
    print("with tokens" if tokens else "without tokens", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        found.append(run(pathlib.Path(folder), tokens))
sys.exit(any(found))
