"""The usual stack with the same two calls for pictures: FastAPI, uvicorn, OpenCV and ONNX Runtime around the same network.

    pip install fastapi uvicorn websockets python-multipart opencv-python-headless onnxruntime numpy
    python serve_fastapi.py PORT MODEL.onnx [no-spin]

ONNX Runtime's threads look for work without pause between two steps, which is best where they have the processor to
themselves; with `no-spin` they sleep, which is best where they do not.
"""

import sys
import time

import cv2
import numpy as np
import onnxruntime
import uvicorn
from fastapi import FastAPI, Request, WebSocket, WebSocketDisconnect
from fastapi.concurrency import run_in_threadpool

PORT, MODEL = int(sys.argv[1]), sys.argv[2]
API = "/api/v1/realtime"
# As in models/polyp-lite/model.json.
MEAN, DEVIATION, SCORE = 0.498039, 0.501961, 0.0

app = FastAPI()
options = onnxruntime.SessionOptions()
if "no-spin" in sys.argv:
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
session = onnxruntime.InferenceSession(MODEL, options, providers=["CPUExecutionProvider"])
entry = session.get_inputs()[0]
HEIGHT, WIDTH = entry.shape[2:4]


def analyse(encoded, frame_id):
    begin = time.perf_counter()
    picture = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
    decoded = time.perf_counter()
    height, width = picture.shape[:2]
    rgb = cv2.cvtColor(cv2.resize(picture, (WIDTH, HEIGHT)), cv2.COLOR_BGR2RGB).astype(np.float32) / 255
    tensor = ((rgb - MEAN) / DEVIATION).transpose(2, 0, 1)[None]
    prepared = time.perf_counter()
    mask = session.run(None, {entry.name: np.ascontiguousarray(tensor)})[0][0, 0]
    inferred = time.perf_counter()
    mask = cv2.resize((mask > SCORE).astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    found = [
        {"label": "polyp", "box": list(cv2.boundingRect(contour)), "polygon": contour[:, 0].tolist()}
        for contour in contours
        if cv2.contourArea(contour) > 100
    ]
    done = time.perf_counter()
    stages = {"decode": decoded - begin, "preprocess": prepared - decoded, "inference": inferred - prepared,
              "postprocess": done - inferred}
    return {"frame_id": frame_id, "width": width, "height": height, "detections": found,
            "stages_ms": {name: seconds * 1e3 for name, seconds in stages.items()},
            "processing_time_ms": (done - begin) * 1e3}


@app.get("/healthz")
def health():
    return {"status": "ok"}


@app.post(API + "/video/process-frame")
async def process_frame(request: Request):
    return await run_in_threadpool(analyse, await request.body(), 0)


@app.websocket(API + "/video/stream")
async def stream(socket: WebSocket):
    await socket.accept()
    number = 0
    try:
        while True:
            encoded = await socket.receive_bytes()
            await socket.send_json({"type": "result", **await run_in_threadpool(analyse, encoded, number)})
            number += 1
    except WebSocketDisconnect:
        pass


uvicorn.run(app, host="127.0.0.1", port=PORT, log_level="error")
