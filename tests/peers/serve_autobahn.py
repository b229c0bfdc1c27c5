"""The Autobahn test suite's WebSocket cases against a running `endort serve`, under Python 2.7.

    python2.7 -m pip install --target SITE autobahntestsuite
    endort serve --runtime scripted: --listen 127.0.0.1:8080
    python2.7 serve_autobahn.py SITE ws://127.0.0.1:8080/api/v1/realtime/video/stream [REPORT_FOLDER]

The suite expects a server that sends each message back. endort answers each message instead: a text that is no control
message by one `error`, a binary message that is no picture by one `error` with its frame's number. So each answer of
the right kind is taken for the message that it answers; everything else (frames, fragments, UTF-8, control frames,
close codes, who closes) is judged by the suite as it stands. Compression is not spoken: cases 12 and 13 are left out.
Prints the cases by verdict; exits with 1 if one is worse than non-strict.
"""

from __future__ import print_function

import collections
import json
import os
import site
import sys

site.addsitedir(os.path.abspath(sys.argv[1]))

from autobahntestsuite import fuzzing  # noqa: E402
from twisted.internet import reactor  # noqa: E402

URL = sys.argv[2]
OUT = sys.argv[3] if len(sys.argv) > 3 else "autobahn-report"
FINE = ("OK", "NON-STRICT", "INFORMATIONAL")

Suite = fuzzing.FuzzingClientProtocol
send_frame = Suite.sendFrame
on_message = Suite.onMessage


def remember(self, opcode, payload="", fin=True, rsv=0, mask=None, payload_len=None, chopsize=None, sync=False, **more):
    """Notes each whole message that the suite sends."""
    if opcode < 8:
        if not hasattr(self, "sent"):
            self.sent, self.parts, self.is_binary = collections.deque(), [], False
        length = len(payload) if payload_len is None else payload_len
        whole = (payload * (length // len(payload) + 1))[:length] if payload else ""
        if opcode:
            self.parts, self.is_binary = [], opcode == 2
        self.parts.append(whole)
        if fin:
            self.sent.append(("".join(self.parts), self.is_binary))
    return send_frame(self, opcode, payload, fin, rsv, mask, payload_len, chopsize, sync, **more)


def answered(self, message, binary):
    """Hands the suite what it sent where endort's answer is the one to that."""
    answer = json.loads(message)
    if answer["type"] == "configured":
        return
    sent = getattr(self, "sent", None)
    kind = "frame_id" in answer
    if not sent or answer["type"] not in ("error", "dropped") or sent[0][1] != kind:
        raise Exception("not an answer to what was sent: %r" % message)
    on_message(self, *sent.popleft())


Suite.sendFrame = remember
Suite.onMessage = answered

fuzzing.startClient({
    "outdir": OUT,
    "servers": [{"agent": "endort", "url": URL, "options": {"version": 18}}],
    "cases": sys.argv[4:] or ["*"],
    "exclude-cases": ["12.*", "13.*"],
    "exclude-agent-cases": {},
})
reactor.run()

results = json.load(open(os.path.join(OUT, "index.json")))["endort"]
verdicts = collections.defaultdict(list)
for case in sorted(results, key=lambda name: [int(part) for part in name.split(".")]):
    verdicts[results[case]["behavior"], results[case]["behaviorClose"]].append(case)
for (behavior, close), cases in sorted(verdicts.items()):
    named = "" if behavior == close == "OK" else ": " + " ".join(cases)
    print("%s, closing %s: %d%s" % (behavior, close, len(cases), named))
sys.exit(any(behavior not in FINE or close not in FINE for behavior, close in verdicts))
