#!/usr/bin/env python3
"""Whether TensorRT's own parser takes ONNX files, and whether it builds an engine of each. Needs no GPU.

    pip install tensorrt_rtx_cu13          # 95 MB; TensorRT for RTX, with the parser of TensorRT proper
    endort optimize --target jetson --precision int8 -o jetson
    python tests/peers/tensorrt_parse.py [--build] jetson/model.onnx …

Prints one JSON document a line: layers by kind, the parser's errors, bytes of the engine. Exits with 1 if a file is
refused. Running an engine needs the GPU, and is not tried.
"""

import argparse
import collections
import json
import sys

import tensorrt_rtx as trt


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+")
    parser.add_argument("--build", action="store_true", help="build an engine of each, too")
    args = parser.parse_args()
    logger = trt.Logger(trt.Logger.ERROR)
    refused = False
    for file in args.files:
        builder = trt.Builder(logger)
        network = builder.create_network(0)
        reader = trt.OnnxParser(network, logger)
        with open(file, "rb") as content:
            parsed = reader.parse(content.read())
        # Of what is no ONNX at all it makes an empty network.
        parsed = parsed and network.num_layers > 0
        layers = [network.get_layer(i) for i in range(network.num_layers)]
        kinds = collections.Counter(layer.type.name for layer in layers)
        result = {
            "file": file,
            "tensorrt": trt.__version__,
            "parsed": parsed,
            "errors": [reader.get_error(i).desc() for i in range(reader.num_errors)],
            "layers": dict(kinds.most_common()),
            "inputs": {t.name: list(t.shape) for t in map(network.get_input, range(network.num_inputs))},
            "outputs": {t.name: list(t.shape) for t in map(network.get_output, range(network.num_outputs))},
        }
        if parsed and args.build:
            engine = builder.build_serialized_network(network, builder.create_builder_config())
            result["engine_bytes"] = engine.nbytes if engine else None
        refused |= not parsed or (args.build and not result["engine_bytes"])
        print(json.dumps(result), flush=True)
    sys.exit(refused)


if __name__ == "__main__":
    main()
